package fault_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/containerd/errdefs"

	"thinctl/fault"
)

func TestKindOf(t *testing.T) {
	held := fault.New(fault.Busy, "held by another process")
	missing := &fault.Error{Op: "open", Object: "volume web", Kind: fault.NotFound}
	tests := []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"no error", nil, fault.Unknown},
		{"no kind", fs.ErrNotExist, fault.Unknown},
		{"kind", fault.Full, fault.Full},
		{"value of a kind", held, fault.Busy},
		{"wrapped", fmt.Errorf("lock: %w", held), fault.Busy},
		{"error with a kind", missing, fault.NotFound},
		{"outermost", &fault.Error{Op: "activate", Object: "pool vault", Kind: fault.Unhealthy, Err: missing}, fault.Unhealthy},
		{"below an error without a kind", &fault.Error{Op: "activate", Object: "pool vault", Err: missing}, fault.NotFound},
		{"first of those joined", errors.Join(fs.ErrNotExist, held, missing), fault.Busy},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := fault.KindOf(test.err); got != test.want {
				t.Errorf("got kind %q, want %q", got, test.want)
			}
			if test.want != fault.Unknown && !errors.Is(test.err, test.want) {
				t.Errorf("errors.Is does not find %q", test.want)
			}
		})
	}
}

// containerd and gRPC read the outermost kind with errdefs.Resolve.
func TestErrdefs(t *testing.T) {
	for kind := fault.Invalid; kind <= fault.Denied; kind++ {
		direct := errdefs.Resolve(kind)
		if errors.Is(direct, errdefs.ErrUnknown) {
			t.Errorf("kind %q has no counterpart in errdefs", kind)
		}
		deep := &fault.Error{Op: "remove", Object: "snapshot web", Kind: fault.New(kind, "text"), Err: fault.Unknown}
		if got := errdefs.Resolve(deep); !errors.Is(got, direct) {
			t.Errorf("an error of kind %q resolves to %v, want %v", kind, got, direct)
		}
	}
}

func TestNewValuesDiffer(t *testing.T) {
	one, other := fault.New(fault.Busy, "in use"), fault.New(fault.Busy, "in use")
	if errors.Is(one, other) {
		t.Error("two values of one kind are the same for errors.Is")
	}
}
