package filelock_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"thinctl/internal/filelock"
)

func held(t *testing.T, path string, span filelock.Range) bool {
	t.Helper()
	lock, err := filelock.Try(path, span)
	if errors.Is(err, filelock.ErrHeld) {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	return false
}

func acquire(t *testing.T, path string, span filelock.Range) *filelock.Lock {
	t.Helper()
	lock, err := filelock.Try(path, span)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func TestRangesAndSharing(t *testing.T) {
	const (
		far  = int64(1)<<24 + 1
		most = int64(1) << 40
	)
	all, one := filelock.Range{}, filelock.Range{Start: 1, Length: 1}
	two, last := filelock.Range{Start: 2, Length: 1}, filelock.Range{Start: far, Length: 1}
	shared := func(r filelock.Range) filelock.Range { r.Shared = true; return r }
	for _, c := range []struct {
		mine, other filelock.Range
		excluded    bool
	}{
		{all, all, true}, {all, one, true}, {one, all, true}, {last, all, true}, {all, filelock.Range{Start: most, Length: 1}, true},
		{one, one, true}, {one, two, false}, {last, two, false}, {last, last, true},
		{shared(one), shared(one), false}, {shared(one), one, true}, {one, shared(one), true},
		{shared(all), shared(one), false}, {shared(all), last, true},
	} {
		path := filepath.Join(t.TempDir(), "lock")
		lock := acquire(t, path, c.mine)
		if got := held(t, path, c.other); got != c.excluded {
			t.Errorf("%+v is held: %+v excluded: got %v, want %v", c.mine, c.other, got, c.excluded)
		}
		if err := lock.Release(); err != nil {
			t.Error(err)
		}
		if held(t, path, c.other) {
			t.Errorf("%+v was released: %+v excluded: got true, want false", c.mine, c.other)
		}
	}
}

func TestGoroutinesTakeTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var inside, total atomic.Int32 // atomic, since the race detector does not follow file locks
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 25 {
				lock, err := filelock.Acquire(t.Context(), path, filelock.Range{Start: 5, Length: 1})
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("goroutines with the lock: got %d, want 1", n)
				}
				total.Add(1)
				inside.Add(-1)
				if err := lock.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if total.Load() != 200 {
		t.Errorf("got %d acquisitions, want 200", total.Load())
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock := acquire(t, path, filelock.Range{})
	defer lock.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := filelock.Acquire(ctx, path, filelock.Range{})
	if !errors.Is(err, filelock.ErrHeld) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v and %v", err, filelock.ErrHeld, context.DeadlineExceeded)
	}
	if took := time.Since(began); took < 50*time.Millisecond || took > time.Minute {
		t.Errorf("the wait took %s, want 50ms to 1m", took)
	}
	if _, err := filelock.Acquire(ctx, path, filelock.Range{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a context that has ended: got %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestWaiterGetsTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock := acquire(t, path, filelock.Range{})
	got := make(chan error, 1)
	go func() {
		next, err := filelock.Acquire(t.Context(), path, filelock.Range{})
		if err == nil {
			err = next.Release()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("Acquire did not wait: got %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// A wait that was given up does not keep the lock for long.
func TestGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock := acquire(t, path, filelock.Range{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for range 3 {
		if _, err := filelock.Acquire(ctx, path, filelock.Range{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := filelock.Acquire(t.Context(), path, filelock.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
}

const childLock = "FILELOCK_TEST_CHILD"

// TestMain lets the test binary be the other process: it takes the lock, prints
// that, and holds the lock until it is killed.
func TestMain(m *testing.M) {
	path := os.Getenv(childLock)
	if path == "" {
		os.Exit(m.Run())
	}
	_, err := filelock.Try(path, filelock.Range{Start: 3, Length: 1})
	fmt.Println("lock:", err)
	<-time.After(time.Hour)
}

func TestProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childLock+"="+path)
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "lock: <nil>\n" {
		t.Errorf("output of the child: got %q, %v, want a lock without an error", line, err)
	}
	span := filelock.Range{Start: 3, Length: 1}
	if !held(t, path, span) || held(t, path, filelock.Range{Start: 4, Length: 1}) {
		t.Error("the lock of another process: got another range, want one byte at 3")
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = filelock.Acquire(soon, path, filelock.Range{})
	holder := fmt.Sprintf("(process %d, %q)", child.Process.Pid, os.Args[0])
	if !errors.Is(err, filelock.ErrHeld) || !strings.Contains(err.Error(), holder) {
		t.Errorf("got %v, want %v with %s", err, filelock.ErrHeld, holder)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	// The wait that was given up above may get the lock first, for a moment.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	lock, err := filelock.Acquire(ctx, path, span)
	if err != nil {
		t.Fatalf("the lock of a killed process: got %v, want it released", err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

func TestLockFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	if err := acquire(t, path, filelock.Range{}).Release(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || info.Size() != 0 {
		t.Errorf("lock file: got %v, %v, want an empty file of mode 0600", info, err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{link, dir, filepath.Join(dir, "no", "lock")} {
		if lock, err := filelock.Try(bad, filelock.Range{}); err == nil {
			t.Errorf("Try(%s) succeeded, want an error", bad)
			lock.Release()
		}
	}
}

func TestWholeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	open := func() *os.File {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
	try := func(file *os.File, shared bool) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return filelock.AcquireFile(ctx, file, shared)
	}
	a, b := open(), open()
	if err := errors.Join(try(a, true), try(b, true)); err != nil {
		t.Errorf("shared twice: got %v, want nil", err)
	}
	holder := fmt.Sprintf("(this process, %d)", os.Getpid())
	if err := try(b, false); !errors.Is(err, filelock.ErrHeld) || !strings.Contains(err.Error(), holder) {
		t.Errorf("exclusive while shared: got %v, want %v with %s", err, filelock.ErrHeld, holder)
	}
	if err := filelock.ReleaseFile(a); err != nil {
		t.Error(err)
	}
	if err := try(b, false); err != nil {
		t.Errorf("exclusive alone: got %v, want nil", err)
	}
	if err := try(a, true); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("shared while exclusive: got %v, want %v", err, filelock.ErrHeld)
	}
	b.Close()
	if err := try(a, false); err != nil {
		t.Errorf("after a close: got %v, want nil", err)
	}
}
