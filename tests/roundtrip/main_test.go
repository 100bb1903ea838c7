//go:build systemd

package roundtrip

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/programs"
)

// fixture is what the tests share: programs that are started for the first test that needs
// one, and archives that are written once.
type fixture struct {
	dir   string
	mutex sync.Mutex
	stops []func(context.Context) error
	pools atomic.Int32 // made so far

	docker   *programs.Docker
	registry *programs.Registry
	built    map[string]*imagetest.Built
}

// here is set by TestMain while the tests run.
var here *fixture

func TestMain(m *testing.M) {
	os.Exit(runAll(m))
}

func runAll(m *testing.M) (status int) {
	if os.Getenv("THINCTL_LAB") == "" {
		fmt.Fprintln(os.Stderr, `run it as go test -tags systemd -exec "$PWD/tests/lab/run --systemd --" ./tests/roundtrip`)
		return 1
	}
	dir, err := os.MkdirTemp("", "roundtrip-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	here = &fixture{dir: dir, built: map[string]*imagetest.Built{}}
	status = m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var faults []error
	for _, stop := range here.stops {
		faults = append(faults, stop(ctx))
	}
	if err := errors.Join(faults...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(status, 1)
	}
	return status
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

// theDocker returns the Docker that all tests share: images of tests have names of their
// own.
func theDocker(t *testing.T) *programs.Docker {
	t.Helper()
	here.mutex.Lock()
	defer here.mutex.Unlock()
	if here.docker == nil {
		docker, err := programs.StartDocker(t.Context(), here.dir, programs.DockerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		here.docker = docker
		here.stops = append(here.stops, docker.Stop)
	}
	return here.docker
}

func theRegistry(t *testing.T) *programs.Registry {
	t.Helper()
	here.mutex.Lock()
	defer here.mutex.Unlock()
	if here.registry == nil {
		registry, err := programs.StartRegistry(t.Context(), here.dir)
		if err != nil {
			t.Fatal(err)
		}
		here.registry = registry
		here.stops = append(here.stops, registry.Stop)
	}
	return here.registry
}

func thePodman() programs.Podman { return programs.NewPodman(here.dir) }

// build builds an image once for all tests.
func build(t *testing.T, image imagetest.Image) *imagetest.Built {
	t.Helper()
	here.mutex.Lock()
	defer here.mutex.Unlock()
	name := image.Names[0]
	if b, ok := here.built[name]; ok {
		return b
	}
	b, err := imagetest.Build(image)
	if err != nil {
		t.Fatal(err)
	}
	here.built[name] = b
	return b
}

// writeTo makes a file in the test's directory.
func writeTo(t *testing.T, name string, write func(*os.File) error) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := write(file); err != nil {
		t.Fatal(err)
	}
	return path
}

func dockerArchive(t *testing.T, built ...*imagetest.Built) string {
	t.Helper()
	return writeTo(t, "image.tar", func(f *os.File) error { return imagetest.WriteDocker(f, built...) })
}

func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sameTree reports where two trees differ.
func sameTree(t *testing.T, who string, want, seen imagetest.Tree) {
	t.Helper()
	for _, line := range want.Diff(seen, 12) {
		t.Errorf("%s: %s", who, line)
	}
	if len(want) == 0 {
		t.Errorf("%s: there is no tree to compare with", who)
	}
}
