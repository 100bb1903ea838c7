package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/snapshots/containerd"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

const defaultSnapshotterSocket = "/run/thinctl/snapshotter.sock"

func (a *app) snapshotterCommand() *cli.Command {
	return a.leaf(leaf{
		name: "snapshotter", args: "POOL", usage: "serve a pool to a containerd until interrupted",
		about: "containerd uses it as a proxy plugin of type snapshot: its snapshots are thin volumes of the pool, which is activated first. " +
			"A containerd sees what is in its namespace and nothing else, and removes there what it does not know: give each one a namespace of its own. " +
			"Ended and started again, it leaves what runs as it is.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "socket", Value: defaultSnapshotterSocket, Usage: "`PATH` of the socket, which root alone can reach"},
			&cli.StringFlag{Name: "namespace", Value: "default", Usage: "`NAME` of the set of snapshots"},
			&cli.StringFlag{Name: "filesystem", Value: string(filesystem.Ext4), Usage: "make `TYPE` on snapshots without a parent: ext4 or xfs"},
			&cli.StringFlag{Name: "size", DefaultText: "the pool's base size", Usage: "`SIZE` of snapshots without a parent"},
		},
		run: (*call).serveSnapshots, complete: (*call).poolNames, long: true,
	})
}

func (c *call) serveSnapshots() error {
	size, err := c.sizeFlag("size")
	if err != nil {
		return err
	}
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) (err error) {
		s, err := containerd.New(pool, c.files, containerd.Options{
			Namespace: c.flags.String("namespace"), FS: filesystem.Type(c.flags.String("filesystem")), Size: size, Log: c.logger})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		// Two of the same socket are told apart before anything is changed.
		listener, err := containerd.Listen(c.flags.String("socket"))
		if err != nil {
			return err
		}
		defer listener.Close()
		if err := errors.Join(pool.Activate(c.ctx), s.Recover(c.ctx)); err != nil {
			return err
		}
		fmt.Fprintf(c.err, "serving pool %s, namespace %s, on %s\n", pool.Name(), s.Namespace(), c.flags.String("socket"))
		if err := c.notify("READY=1"); err != nil {
			return err
		}
		err = containerd.Serve(c.ctx, listener, s, containerd.ServeOptions{Observe: func(method, code string, took time.Duration) {
			c.logger.Debug("request", "method", method, "code", code, "took", took)
		}})
		if errors.Is(context.Cause(c.ctx), errInterrupted) && err == nil {
			return nil // this is how it ends
		}
		return err
	})
}

// notify tells systemd of a service's state (sd_notify(3)).
func (c *call) notify(state string) error {
	path := c.getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		return fmt.Errorf("telling systemd: %w", err)
	}
	_, err = conn.Write([]byte(state))
	return errors.Join(err, conn.Close())
}
