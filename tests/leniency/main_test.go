//go:build systemd

package leniency

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"thinctl/tests/programs"
)

// fixture holds the programs that all rows share, each started once.
type fixture struct {
	dir        string
	docker     *programs.Docker
	containerd *programs.Containerd
	storage    programs.Storage
	pool       programs.Thinctl
	containers sync.Mutex // one container of thinctl at a time: all have the same name
}

// started is the fixture; it is set while the tests run.
var started *fixture

// stopDeadline is generous, since the guest may be emulated and busy.
const stopDeadline = 5 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv("THINCTL_LAB") == "" {
		fmt.Fprintln(os.Stderr, `run it as go test -tags systemd -v -exec "$PWD/tests/lab/run --systemd --" ./tests/leniency`)
		os.Exit(1)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	if dir := os.Getenv("THINCTL_PEERS_BIN"); dir != "" {
		os.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	}
	var err error
	if started, err = start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	status := m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), stopDeadline)
	defer cancel()
	err = errors.Join(started.docker.Stop(ctx), started.containerd.Stop(ctx), started.pool.Destroy(ctx))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(status, 1)
	}
	return status
}

// start starts the programs concurrently.
func start(ctx context.Context) (*fixture, error) {
	dir, err := os.MkdirTemp("", "leniency-")
	if err != nil {
		return nil, err
	}
	f := &fixture{dir: dir, storage: programs.NewStorage(dir),
		pool: programs.Thinctl{Root: filepath.Join(dir, "pools"), Pool: "lenient"}}
	for _, address := range []string{privateRegistry, privateBlobs} {
		if _, err := programs.Run(ctx, "ip", "address", "add", address+"/32", "dev", "lo"); err != nil {
			return nil, err
		}
	}
	if err := helpers(filepath.Join(dir, "bin")); err != nil {
		return nil, err
	}
	var group sync.WaitGroup
	var faults [3]error
	group.Go(func() {
		f.docker, faults[0] = programs.StartDocker(ctx, dir, programs.DockerOptions{Flags: []string{
			"--insecure-registry", "10.77.0.0/24", "--max-download-attempts", "2",
		}})
	})
	group.Go(func() { f.containerd, faults[1] = programs.StartProxied(ctx, dir, nil) })
	group.Go(func() { faults[2] = f.pool.Create(ctx, "--data-size", "8G", "--base-size", "512M") })
	group.Wait()
	return f, errors.Join(faults[:]...)
}

// helpers are credential helpers that fail.
func helpers(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"fails":   "#!/bin/sh\necho 'cannot reach the desktop' >&2\nexit 1\n",
		"garbage": "#!/bin/sh\necho 'this is not JSON'\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}
