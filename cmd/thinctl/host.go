package main

import (
	"errors"
	"io"
	"log/slog"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// localHost is the machine that thinctl runs on.
func localHost(logger *slog.Logger) (thinpool.Host, io.Closer, error) {
	kernel, err := dm.Open(dm.Options{Logger: logger})
	if err != nil {
		return thinpool.Host{}, nil, err
	}
	loops := loopback.New(loopback.Options{})
	host := thinpool.Host{Kernel: kernel, Loops: loops, Disks: thinpool.LocalDisks{}, Holders: snapshots.Holders(filesystem.Local{})}
	return host, closers{kernel, loops}, nil
}

type closers []io.Closer

func (c closers) Close() error {
	var faults []error
	for _, one := range c {
		faults = append(faults, one.Close())
	}
	return errors.Join(faults...)
}
