//go:build kernel

package drills

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thinctl/units"
)

// The remedies that are printed in each state lead out of it on a real kernel, too.
func TestRemediesLeadOut(t *testing.T) {
	for _, state := range States() {
		t.Run(state.Name, func(t *testing.T) {
			place := Place{Root: root, Thinctl: func(line string) error {
				_, err := tried(t, "thinctl", strings.Fields(line)...)
				return err
			}}
			pool := state.Pool
			if pool == "" {
				pool = "vault"
			}
			t.Cleanup(func() { giveUp(t, pool) })
			if err := place.Prepare(); err != nil {
				t.Fatal(err)
			}
			if err := state.Bring(place); err != nil {
				t.Fatal(err)
			}
			got, ran, err := FollowRemedies(pasted, "thinctl pool activate "+pool, "thinctl pool check "+pool)
			t.Logf("%s, after\n%s", got, strings.Join(ran, "\n"))
			if err != nil || got != state.Want {
				t.Fatalf("%s, %v; want %s", got, err, state.Want)
			}
			if got != Sound {
				return
			}
			thinctl(t, "pool activate "+pool)
			var names []string
			for line := range strings.Lines(thinctl(t, "volume list "+pool)) {
				names = append(names, strings.Fields(line)[0])
			}
			if want := append([]string{"NAME"}, state.Volumes...); !slices.Equal(names, want) {
				t.Errorf("volumes %q, want %q", names, want)
			}
			thinctl(t, "pool deactivate "+pool)
			run(t, "thin_check", filepath.Join(root, pool, "metadata"))
		})
	}
}

// pasted runs a command as an operator would paste it.
func pasted(command string) (printed string, code int) {
	cmd := exec.Command("bash", "-c", command)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// giveUp removes a pool that may be incomplete.
func giveUp(t *testing.T, pool string) {
	if _, err := tried(t, "thinctl", "pool", "destroy", pool, "--yes"); err != nil {
		run(t, "rm", "-r", filepath.Join(root, pool))
	}
	if out := run(t, "losetup", "--list", "--noheadings", "--output", "BACK-FILE"); strings.Contains(out, "/"+pool+"/") {
		t.Errorf("got loop devices %s, want none", out)
	}
}

// A pool on block devices that has lost its whole directory is made again from its devices.
// Volumes with file systems have their size and files.
func TestRepairWithoutTheDirectory(t *testing.T) {
	data, metadata := blockDevice(t, 1*units.GiB), blockDevice(t, 8*units.MiB)
	newPool(t, "vault", "--data-device "+data+" --metadata-device "+metadata)
	for volume, fs := range map[string]string{"one": "ext4", "two": "xfs"} {
		thinctl(t, "volume create vault "+volume+" --size 320M --fs "+fs)
		dir := strings.TrimSpace(thinctl(t, "volume mount vault "+volume))
		run(t, "cp", "/bin/true", dir)
		thinctl(t, "volume unmount vault "+volume)
	}
	thinctl(t, "pool deactivate vault")
	run(t, "rm", "-r", filepath.Join(root, "vault"))
	t.Log(thinctl(t, "pool repair vault --data-device "+data+" --metadata-device "+metadata))
	thinctl(t, "pool activate vault")
	for _, volume := range []string{"recovered-1", "recovered-2"} {
		if out := thinctl(t, "volume list vault"); !strings.Contains(out, volume) {
			t.Fatalf("volume %s: not in the list: %s", volume, out)
		}
		thinctl(t, "volume activate vault "+volume)
		if out := strings.TrimSpace(run(t, "blockdev", "--getsize64", node("vault", volume))); out != "335544320" {
			t.Errorf("%s has %s bytes, want 320M", volume, out)
		}
		dir := strings.TrimSpace(thinctl(t, "volume mount vault "+volume))
		run(t, "cmp", "/bin/true", filepath.Join(dir, "true"))
		thinctl(t, "volume unmount vault "+volume)
	}
	thinctl(t, "pool check vault")
}
