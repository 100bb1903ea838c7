package looptest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"thinctl/internal/testkit/looptest"
	"thinctl/loopback"
	"thinctl/units"
)

func TestContract(t *testing.T) {
	looptest.Contract(t, func(t *testing.T) looptest.Fixture {
		claimed := map[string]bool{}
		k := looptest.New(looptest.Hooks{Busy: func(d loopback.Device) bool { return claimed[d.Path] }})
		t.Cleanup(func() {
			if left := k.Attached(); len(left) > 0 {
				t.Errorf("attached at the end: got %v, want none", left)
			}
			k.PowerOff()
		})
		return looptest.Fixture{Loops: k, Dir: t.TempDir(), Claim: func(t *testing.T, d loopback.Device) func() {
			claimed[d.Path] = true
			return func() { delete(claimed, d.Path) }
		}}
	})
}

func file(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := loopback.CreateSparse(path, units.MiB, loopback.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHooks(t *testing.T) {
	var seen []string
	note := func(what string) func(loopback.Device, units.Bytes) {
		return func(d loopback.Device, size units.Bytes) {
			seen = append(seen, fmt.Sprintf("%s %s %s", what, d.Number, size))
		}
	}
	k := looptest.New(looptest.Hooks{
		OnAttach: note("attach"), OnResize: note("resize"),
		OnDetach: func(d loopback.Device) { seen = append(seen, "detach "+d.Number.String()) },
	})
	path, ctx := file(t, "data"), t.Context()
	d, err := k.Attach(ctx, path, loopback.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, unchanged := k.Refresh(ctx, d)
	grow := loopback.Grow(path, 2*units.MiB, loopback.FileOptions{})
	_, changed := k.Refresh(ctx, d)
	if err := errors.Join(unchanged, grow, changed, k.Detach(ctx, d)); err != nil {
		t.Fatal(err)
	}
	want := []string{"attach 7:0 1M", "resize 7:0 2M", "detach 7:0"}
	if !slices.Equal(seen, want) {
		t.Errorf("got %q, want %q", seen, want)
	}
}

func TestFaultChangesNothing(t *testing.T) {
	boom := errors.New("boom")
	var at string
	k := looptest.New(looptest.Hooks{Fault: func(op, _ string) error {
		if op == at {
			return boom
		}
		return nil
	}})
	defer k.PowerOff()
	path, ctx := file(t, "data"), t.Context()
	at = "attach"
	if _, err := k.Attach(ctx, path, loopback.AttachOptions{}); !errors.Is(err, boom) || len(k.Attached()) != 0 {
		t.Errorf("attach: got %v and %v, want %v and no device", err, k.Attached(), boom)
	}
	at = "detach"
	d, err := k.Attach(ctx, path, loopback.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Detach(ctx, d); !errors.Is(err, boom) || len(k.Attached()) != 1 {
		t.Errorf("detach: got %v and %v, want %v and one device", err, k.Attached(), boom)
	}
}

func TestKillAndPowerOff(t *testing.T) {
	k := looptest.New(looptest.Hooks{})
	ctx, a, b := t.Context(), file(t, "a"), file(t, "b")
	da, err := k.Attach(ctx, a, loopback.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Attach(ctx, b, loopback.AttachOptions{Autoclear: true}); err != nil {
		t.Fatal(err)
	}
	k.Kill()
	if got := k.Attached(); len(got) != 1 || got[0] != da {
		t.Errorf("attached after the kill: got %v, want %v", got, da)
	}
	k.PowerOff()
	if got := k.Attached(); len(got) != 0 {
		t.Errorf("attached after the power cut: got %v, want none", got)
	}
	if _, err := k.Info(ctx, da); !errors.Is(err, loopback.ErrNotAttached) {
		t.Errorf("info after the power cut: got %v, want %v", err, loopback.ErrNotAttached)
	}
	if _, err := k.Attach(ctx, a, loopback.AttachOptions{Reuse: true}); err != nil {
		t.Errorf("attach after the boot: got %v, want nil", err)
	}
	k.PowerOff()
}

func TestNoDirectIO(t *testing.T) {
	k := looptest.New(looptest.Hooks{NoDirectIO: true})
	defer k.PowerOff()
	d, err := k.Attach(context.Background(), file(t, "data"), loopback.AttachOptions{})
	if err != nil || d.DirectIO {
		t.Errorf("got %+v, %v, want no direct IO", d, err)
	}
}

func ExampleNew() {
	dir, err := os.MkdirTemp("", "looptest")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "data")
	if err := loopback.CreateSparse(data, 100*units.GiB, loopback.FileOptions{}); err != nil {
		panic(err)
	}
	k := looptest.New(looptest.Hooks{})
	defer k.PowerOff()
	d, err := k.Attach(context.Background(), data, loopback.AttachOptions{Reuse: true})
	if err != nil {
		panic(err)
	}
	info, err := k.Info(context.Background(), d)
	fmt.Println(d.Path, d.Number, info.Size, err)
	// Output: /dev/loop0 7:0 100G <nil>
}
