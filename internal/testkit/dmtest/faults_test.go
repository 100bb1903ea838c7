package dmtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"thinctl/dm"
	"thinctl/fault"
)

func TestUnavailable(t *testing.T) {
	for _, kind := range []error{dm.ErrNoDeviceMapper, fault.Denied} {
		k := New(Options{Unavailable: kind})
		if _, err := k.Version(t.Context()); !errors.Is(err, kind) {
			t.Errorf("got %v, want %v", err, kind)
		}
		if _, err := k.WaitEvent(t.Context(), dm.ByName("x"), 0); !errors.Is(err, kind) {
			t.Errorf("got %v, want %v", err, kind)
		}
	}
	k := New(Options{TargetVersions: map[string]dm.Version{dm.TypeThinPool: {}}})
	if _, err := k.TargetVersion(t.Context(), dm.TypeThinPool); !errors.Is(err, dm.ErrNoTarget) {
		t.Errorf("got %v, want %v", err, dm.ErrNoTarget)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.List(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestFaults(t *testing.T) {
	s, k := newSuite(t, Options{})
	p := s.newPool(8, nil)
	lost := errors.New("lost")
	for _, phase := range []Phase{Before, After} {
		k.SetFault(func(c Call) error {
			if c.Phase == phase && c.Op == "message" && strings.HasPrefix(c.Detail, "create_thin 7") {
				return lost
			}
			return nil
		})
		if err := p.message(p.dev, "create_thin 7"); !errors.Is(err, lost) {
			t.Errorf("fault %s the message: got %v, want %v", phase, err, lost)
		}
		k.Restart()
		err := p.message(p.dev, "delete 7")
		equal(s, phase.String()+": message had its effect", err == nil, phase == After)
	}
}

func TestStopAt(t *testing.T) {
	for _, phase := range []Phase{Before, After} {
		for n := 1; n <= 4; n++ {
			s, k := newSuite(t, Options{})
			p := s.newPool(8, nil)
			k.SetFault(StopAt(n, phase))
			var ran []bool
			for _, text := range []string{"create_thin 1", "set_transaction_id 0 1", "create_thin 2"} {
				err := p.message(p.dev, "%s", text)
				if err != nil && !errors.Is(err, ErrStopped) {
					t.Error(err)
				}
				ran = append(ran, err == nil)
			}
			k.Restart()
			if want := []bool{n > 1, n > 2, n > 3}; !slices.Equal(ran, want) {
				t.Errorf("stop %s call %d: got success %v, want %v", phase, n, ran, want)
			}
			equal(s, "transaction done", p.status().TransactionID == 1, n > 2 || n == 2 && phase == After)
		}
	}
}
