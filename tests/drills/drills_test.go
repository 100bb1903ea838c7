//go:build kernel

package drills

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"thinctl/docs/runbooks"
)

func TestMain(m *testing.M) {
	if os.Getenv("THINCTL_LAB") == "" {
		fmt.Fprintln(os.Stderr, `drills break what they find: run them as go test -tags kernel -exec "$PWD/tests/lab/run --" ./tests/drills`)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// fault is a fault and the drill for it.
type fault struct {
	name  string
	bring func(*testing.T) Drill
}

// faults are in the order in which they are caused.
func faults(t *testing.T) []fault {
	crowded := &crowded{owner: t}
	return []fault{
		{"extend-loop-pool", extendLoopPool},
		{"extend-device-pool", extendDevicePool},
		{"data-low", dataLow},
		{"data-full/free space", dataFullWithSpace},
		{"data-full/no free space", dataFullWithoutSpace},
		{"host-low", hostLow},
		{"host-full", hostFull},
		{"needs-check", needsCheck},
		{"pool-read-only", poolReadOnly},
		{"pool-failed", poolFailed},
		{"pool-inactive", poolInactive},
		{"pool-gone", poolGone},
		{"extend-failed", extendFailed},
		{"at-maximum", atMaximum},
		{"sample-stale", sampleStale},
		{"held-root", heldRoot},
		{"removal-waiting", removalWaiting},
		{"leak", leak},
		{"replace-lvm-thin", replaceLVM},
		{"move-pool-directory", movePoolDirectory},
		{"metadata-full", crowded.metadataFull},
		{"metadata-low", crowded.metadataLow},
		{"scan-stale", crowded.scanStale},
	}
}

// elsewhere are the runbooks that other tests follow, because one guest does not survive
// them.
func elsewhere() []string { return []string{"reboot"} }

// TestDrills runs every command of every runbook after the fault that it is for, and
// compares with what Verify expects.
func TestDrills(t *testing.T) {
	pasted := map[string][]int{}
	for _, fault := range faults(t) {
		t.Run(fault.name, func(t *testing.T) {
			began := time.Now()
			drill := fault.bring(t)
			ready := time.Since(began)
			lines, err := drill.Follow(t.Context(), t.Logf)
			if err != nil {
				t.Fatal(err)
			}
			pasted[drill.Runbook] = append(pasted[drill.Runbook], lines...)
			t.Logf("%.1f s for the fault, %.1f s for the runbook", ready.Seconds(), (time.Since(began) - ready).Seconds())
		})
	}
	if flag.Lookup("test.run").Value.String() != "" || t.Failed() {
		return // some were not run
	}
	for _, name := range runbooks.Names() {
		if slices.Contains(elsewhere(), name) {
			continue
		}
		text, _ := runbooks.Text(name)
		steps, err := runbooks.Commands(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			if !slices.Contains(pasted[name], step.Line) && !NeedsDaemon(name, step.Case) {
				t.Errorf("%s.md:%d: no drill runs `%s`", name, step.Line, step.Command)
			}
		}
	}
}
