package exit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/filelock"
	"thinctl/internal/images"
	"thinctl/internal/images/manifest"
	"thinctl/internal/images/reference"
	"thinctl/internal/images/registry"
	"thinctl/internal/layers"
	"thinctl/loopback"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

func TestExitCode(t *testing.T) {
	pool := func(kind, cause error) error {
		return &thinpool.Error{Op: "test", Object: "pool p", Kind: kind, Err: cause}
	}
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{context.DeadlineExceeded, 1},
		{pool(thinpool.ErrInactive, nil), 1},
		{&UsageError{Why: "no"}, 2},
		{pool(fault.Invalid, nil), 2},
		{pool(fault.NotFound, nil), 3},
		{&dm.Error{Kind: fault.NotFound, Err: syscall.ENXIO}, 3},
		{pool(fault.Exists, nil), 4},
		{pool(thinpool.ErrHoldsData, nil), 4},
		{&dm.Error{Kind: fault.Exists}, 4},
		{pool(fault.Busy, nil), 5},
		{&dm.Error{Kind: fault.Busy}, 5},
		{&loopback.Error{Kind: fault.Busy}, 5},
		{&filesystem.Error{Kind: fault.Busy}, 5},
		{fmt.Errorf("lock: %w", filelock.ErrHeld), 5},
		{fmt.Errorf("lock: %w: %w", filelock.ErrHeld, context.DeadlineExceeded), 5},
		{&images.Error{Kind: fault.Invalid}, 2},
		{&reference.Error{Kind: fault.Invalid}, 2},
		{&layers.Error{Kind: layers.ErrAmbiguous}, 2},
		{&reference.Error{Kind: reference.ErrNotFound}, 3},
		{&layers.Error{Kind: fault.NotFound}, 3},
		{&registry.Error{Kind: registry.ErrNotFound}, 3},
		{&manifest.Error{Kind: manifest.ErrPlatform}, 3},
		{&layers.Error{Kind: fault.Exists}, 4},
		{&images.Error{Kind: fault.Busy}, 5},
		{&layers.Error{Kind: fault.Busy}, 5},
		{&layers.Error{Kind: layers.ErrMounted, Err: pool(fault.Busy, nil)}, 5},
		{&registry.Error{Kind: registry.ErrBusy}, 5},
		{&layers.Error{Kind: fault.Full, Err: syscall.ENOSPC}, 6},
		{&registry.Error{Kind: registry.ErrDenied}, 7},
		{&manifest.Error{Kind: manifest.ErrDigest}, 1},
		{&images.Error{Kind: images.ErrDigest}, 1},
		{&registry.Error{Kind: registry.ErrUnavailable}, 1},
		{&layers.Error{Kind: layers.ErrNotMounted}, 1},
		{pool(fault.Unhealthy, nil), 6},
		{pool(thinpool.ErrReserve, nil), 6},
		{pool(thinpool.ErrSwapped, nil), 6},
		{pool(thinpool.ErrDiverged, nil), 6},
		{&dm.Error{Kind: fault.Unhealthy}, 6},
		{pool(fault.Unsupported, &dm.Error{Kind: dm.ErrNoTarget}), 7},
		{&dm.Error{Kind: fault.Denied}, 7},
		{&dm.Error{Kind: dm.ErrNoDeviceMapper}, 7},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, 7},
		// A kind of thinpool takes precedence over kinds below it.
		{pool(fault.Unhealthy, &dm.Error{Kind: fault.NotFound}), 6},
		{pool(fault.Busy, &dm.Error{Kind: fault.Denied}), 5},
		// Of joined errors the first counts.
		{errors.Join(pool(fault.Unsupported, nil), pool(fault.Exists, nil)), 7},
		{errors.Join(pool(fault.Invalid, nil), pool(fault.Exists, nil)), 2},
	} {
		if got := Code(context.Background(), test.err); got != test.want {
			t.Errorf("%v: %d, want %d", test.err, got, test.want)
		}
	}
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(ErrInterrupted)
	if got := Code(ended, pool(fault.Busy, context.Canceled)); got != CodeInterrupted {
		t.Errorf("interrupted: %d, want %d", got, CodeInterrupted)
	}
	if got := Code(ended, nil); got != 0 {
		t.Errorf("done in spite of an interrupt: %d, want 0", got)
	}
}

func TestKeptVolume(t *testing.T) {
	for purpose, want := range map[string]string{
		"":           "it is a volume of the user; use `thinctl volume remove vault web`",
		"layer":      "it is kept for another purpose: layer; use the `thinctl layer` commands",
		"containerd": "it is kept for another purpose: containerd; use `ctr snapshots` or another client of containerd",
		"init":       "it is kept for another purpose: init; remove the images and containers that need it",
	} {
		err := &thinpool.Error{Op: "remove", Object: "volume vault/web", Kind: fault.Invalid,
			Err: &thinpool.KeptError{Op: "remove", Pool: "vault", Volume: "web", For: purpose}}
		want = "thinctl: remove volume vault/web: invalid: " + want + "\n"
		if got := Message(context.Background(), err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestMessage(t *testing.T) {
	ctx := context.Background()
	err := errors.Join(errors.New("one"), errors.New("two\n\nthree"))
	if got, want := Message(ctx, err), "thinctl: one\nthinctl: two\nthinctl: three\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	slow := fmt.Errorf("mount: %w", context.DeadlineExceeded)
	if got, want := Message(ctx, slow), "thinctl: mount: context deadline exceeded; the time ran out: allow more with --timeout\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
