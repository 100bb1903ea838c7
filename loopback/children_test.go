package loopback_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"thinctl/blockdev"
	"thinctl/internal/testkit/need"
	"thinctl/loopback"
	"thinctl/units"
)

const parallelFiles = 200

func TestParallelAttaches(t *testing.T) {
	shared := loopback.New(loopback.Options{Timeout: time.Minute})
	for name, control := range map[string]func(dir string) *loopback.Control{
		"one Control": func(string) *loopback.Control { return shared },
		"a Control for each file": func(string) *loopback.Control {
			return loopback.New(loopback.Options{Timeout: time.Minute, Attempts: 1000})
		},
		"a legacy Control for each file": func(dir string) *loopback.Control {
			return loopback.New(loopback.Options{Timeout: time.Minute, Legacy: true, LockFile: filepath.Join(dir, "lock")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			need.Loops(t)
			dir := tempDir(t)
			names := makeFiles(t, dir)
			got := make([]loopback.Device, len(names))
			var all sync.WaitGroup
			start := time.Now()
			for i, path := range names {
				c := control(dir)
				all.Go(func() {
					var err error
					if got[i], err = c.Attach(t.Context(), path, loopback.AttachOptions{}); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			t.Logf("attached %d files in %v", len(got), time.Since(start))
			checkDistinct(t, got)
			start = time.Now()
			for i, d := range got {
				c := control(dir)
				all.Go(func() {
					if d.Path == "" {
						return
					}
					if err := c.Detach(context.Background(), d); err != nil {
						t.Errorf("detach %s: got %v, want nil", names[i], err)
					}
				})
			}
			all.Wait()
			t.Logf("detached in %v", time.Since(start))
		})
	}
}

// Some old programs support only 256 devices.
func TestMoreThan256Devices(t *testing.T) {
	need.Loops(t)
	dir := tempDir(t)
	c := loopback.New(loopback.Options{})
	var got []loopback.Device
	for i := range 300 {
		d := attach(t, c, quickFile(t, dir, i), loopback.AttachOptions{})
		defer detach(t, c, d)
		got = append(got, d)
	}
	checkDistinct(t, got)
	if last := got[len(got)-1]; last.Number.Minor < 256 {
		t.Errorf("device 300: got minor %d, want at least 256", last.Number.Minor)
	}
}

// checkDistinct checks that all devices differ and that each has its own file.
func checkDistinct(t *testing.T, got []loopback.Device) {
	t.Helper()
	c := loopback.New(loopback.Options{})
	seen := map[blockdev.Number]string{}
	for _, d := range got {
		if d.Path == "" {
			continue
		}
		if other := seen[d.Number]; other != "" {
			t.Errorf("%s and %s are both attached to %s", d.File, other, d.Path)
		}
		seen[d.Number] = d.File
		st, err := os.Stat(d.File)
		if err != nil {
			t.Error(err)
			continue
		}
		info, err := c.Info(t.Context(), d)
		if err != nil || info.BackingPath != d.File || info.Size != units.Bytes(st.Size()) {
			t.Errorf("info of %+v: got %+v, %v, want %s of %d bytes", d, info, err, d.File, st.Size())
		}
	}
}

// quickFile creates a file without a sync, because a test needs many. Each file has
// another size, so that the tests notice a device with the wrong file.
func quickFile(t *testing.T, dir string, i int) string {
	t.Helper()
	path := filepath.Join(dir, fmt.Sprint("file", i))
	size := int64(units.MiB) + int64(i)*4096
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	return path
}

func makeFiles(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for i := range parallelFiles {
		names = append(names, quickFile(t, dir, i))
	}
	return names
}

func TestFourProcesses(t *testing.T) {
	for _, job := range []string{"attach", "attach-legacy"} {
		t.Run(job, func(t *testing.T) {
			need.Loops(t)
			dir := tempDir(t)
			names := makeFiles(t, dir)
			var got []loopback.Device
			var mu sync.Mutex
			var all sync.WaitGroup
			for i := range 4 {
				all.Go(func() {
					devices, err := child(t, job, dir, names[i*50:(i+1)*50], false)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					got = append(got, devices...)
				})
			}
			all.Wait()
			if len(got) != parallelFiles {
				t.Errorf("got %d devices, want %d", len(got), parallelFiles)
			}
			checkDistinct(t, got)
			for _, d := range got {
				detach(t, loopback.New(loopback.Options{}), d)
			}
		})
	}
}

// Four processes attach the same file and must get one device.
func TestFourProcessesReuse(t *testing.T) {
	need.Loops(t)
	dir := tempDir(t)
	path := makeFile(t, dir, "file", units.MiB)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := child(t, "reuse", dir, []string{path, path, path, path}, false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	c := loopback.New(loopback.Options{})
	got, err := c.Find(t.Context(), path)
	if err != nil || len(got) != 1 {
		t.Errorf("devices of the file: got %v, %v, want one", got, err)
	}
	for _, d := range got {
		detach(t, c, d)
	}
}

// Autoclear devices are detached when their process is killed, others are not.
func TestKilledProcess(t *testing.T) {
	need.Loops(t)
	dir := tempDir(t)
	c := loopback.New(loopback.Options{})
	for job, survives := range map[string]bool{"attach": true, "autoclear": false} {
		path := makeFile(t, dir, job, units.MiB)
		devices, err := child(t, job, dir, []string{path}, true)
		if err != nil || len(devices) != 1 {
			t.Fatal(devices, err)
		}
		got, err := c.Find(t.Context(), path)
		if err != nil || (len(got) == 1) != survives {
			t.Errorf("%s: devices after the kill: got %v, %v, want any: %v", job, got, err, survives)
		}
		for _, d := range got {
			detach(t, c, d)
		}
	}
}

// child runs this binary with a job and returns the devices that it attached. With
// kill, child ends it with SIGKILL after it has reported them.
func child(t *testing.T, job, dir string, files []string, kill bool) ([]loopback.Device, error) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], files...)
	cmd.Env = append(os.Environ(), childJob+"="+job, "LOCK="+filepath.Join(dir, "lock"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var devices []loopback.Device
	decode := json.NewDecoder(bufio.NewReader(out)).Decode(&devices)
	if kill {
		return devices, errors.Join(decode, cmd.Process.Kill(), ignoreExit(cmd.Wait()))
	}
	return devices, errors.Join(in.Close(), cmd.Wait(), decode)
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// runChild attaches the files in os.Args concurrently and waits for the end of its input.
func runChild(job string) int {
	o := loopback.Options{Timeout: time.Minute, LockFile: os.Getenv("LOCK"), Legacy: job == "attach-legacy"}
	as := loopback.AttachOptions{Reuse: job == "reuse", Autoclear: job == "autoclear"}
	c := loopback.New(o)
	devices := make([]loopback.Device, len(os.Args)-1)
	var all sync.WaitGroup
	failed := make(chan error, len(devices))
	for i, file := range os.Args[1:] {
		all.Go(func() {
			var err error
			if devices[i], err = c.Attach(context.Background(), file, as); err != nil {
				failed <- err
			}
		})
	}
	all.Wait()
	close(failed)
	code := 0
	for err := range failed {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(devices); err != nil {
		return 1
	}
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	return code
}
