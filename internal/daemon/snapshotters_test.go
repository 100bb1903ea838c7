package daemon

import (
	"strings"
	"testing"
	"time"
)

// A containerd with a missing pool does not affect the rest. Its error is logged once, and
// the missing pool is a condition, as for any pool in the configuration.
func TestContainerdWithoutPool(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.pool("p", nil)
		h.config = quietConfig + "[containerd.k8s]\npool = \"missing\"\n"
		h.start()
		h.advance(30 * time.Second)
		h.conditions("p")
		h.conditions("missing", PoolGone)
		if n := strings.Count(h.log.String(), "containerd is not served"); n != 1 {
			h.Errorf("logged %d times, want once\n%s", n, h.log.String())
		}
	})
}

// scanned returns the results of the last scan.
func TestScanned(t *testing.T) {
	inBubble(t, func(h *harness) {
		_, v := h.pool("p", nil)
		h.fill(v, 0, 3)
		h.config = quietConfig + "scan_every = \"1h\"\n"
		h.start()
		h.advance(20 * time.Second)
		if got, ok := h.daemon.scanned("p", "v"); !ok || got.Exclusive != got.Mapped || got.Mapped == 0 {
			h.Errorf("got %+v, %t, want equal sizes above 0", got, ok)
		}
		for _, missing := range [][2]string{{"p", "other"}, {"other", "v"}} {
			if got, ok := h.daemon.scanned(missing[0], missing[1]); ok {
				h.Errorf("%s: got %+v, want nothing", missing, got)
			}
		}
	})
}
