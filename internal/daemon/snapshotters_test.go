package daemon

import (
	"strings"
	"testing"
	"time"
)

// A containerd whose pool is not there keeps nobody from anything, and is told of
// once; that the pool is missing is told as of any that the configuration names.
func TestContainerdWithoutPool(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.pool("p", nil)
		r.config = quietConfig + "[containerd.k8s]\npool = \"missing\"\n"
		r.start()
		r.pass(30 * time.Second)
		r.conditions("p")
		r.conditions("missing", PoolGone)
		if n := strings.Count(r.log.String(), "containerd is not served"); n != 1 {
			r.Errorf("it is told %d times\n%s", n, r.log.String())
		}
	})
}

// What a scan has found of a volume is what Usage goes by.
func TestScanned(t *testing.T) {
	inBubble(t, func(r *rig) {
		_, v := r.pool("p", nil)
		r.fill(v, 0, 3)
		r.config = quietConfig + "scan_every = \"1h\"\n"
		r.start()
		r.pass(20 * time.Second)
		if found, known := r.daemon.scanned("p", "v"); !known || found.Exclusive != found.Mapped || found.Mapped == 0 {
			r.Errorf("%+v, %t", found, known)
		}
		for _, of := range [][2]string{{"p", "other"}, {"other", "v"}} {
			if found, known := r.daemon.scanned(of[0], of[1]); known {
				r.Errorf("of %s: %+v", of, found)
			}
		}
	})
}
