//go:build systemd

package roundtrip

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/programs"
)

const diffChanges = 100 // in each round

// diffRounds is small unless everything is to be tried.
func diffRounds() uint64 {
	if everything() {
		return 6
	}
	return 2
}

// changedImage has files to change and a program that keeps a container running.
func changedImage(t *testing.T) *imagetest.Built {
	busybox, err := os.ReadFile("/bin/busybox")
	check(t, err)
	program := imagetest.Program("thinctl/changed:1", "/busybox", busybox)
	program.Layers = append(slices.Clone(small()[0].image.Layers), program.Layers...)
	return build(t, program)
}

// startMapped starts a container of Docker with the driver devicemapper, whose diff is the
// one that users know, and returns its directory.
func startMapped(t *testing.T, archive, image string) (*programs.Docker, string) {
	docker := must[*programs.Docker](t)(programs.StartDocker(t.Context(), t.TempDir(), programs.DockerOptions{
		Driver: "devicemapper",
		Flags:  []string{"--storage-opt", "dm.loopdatasize=8G", "--storage-opt", "dm.loopmetadatasize=256M"},
	}))
	t.Cleanup(func() {
		if err := docker.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	check(t, docker.Load(t.Context(), archive))
	must[string](t)(docker.Do(t.Context(), "run", "-d", "--name", "changed", "--network", "none", image, "/busybox",
		"sleep", "100000"))
	return docker, must[string](t)(docker.Rootfs(t.Context(), "changed"))
}

func TestDiff(t *testing.T) {
	b := changedImage(t)
	archive := dockerArchive(t, b)
	docker, theirs := startMapped(t, archive, b.Names[0])
	p := newPool(t)
	check(t, p.Load(t.Context(), archive))
	ours := must[string](t)(p.Mount(t.Context(), b.Names[0], "changed"))
	for round := range diffRounds() {
		for _, root := range []string{theirs, ours} {
			check(t, imagetest.Mutate(root+"/usr", round, diffChanges))
		}
		want := must[[]string](t)(docker.Diff(t.Context(), "changed"))
		seen := must[[]string](t)(p.Diff(t.Context(), "changed"))
		if len(want) < diffChanges/2 {
			t.Fatalf("docker sees only %d changes after %d", len(want), (round+1)*diffChanges)
		}
		for _, line := range firstDifferences(want, seen, 10) {
			t.Errorf("round %d: %s", round, line)
		}
	}
	must[string](t)(docker.Do(t.Context(), "rm", "-f", "changed"))
	check(t, p.Remove(t.Context(), "changed"))
}

// firstDifferences compares sorted lines: Docker lists the changes of a directory in the
// order of a Go map.
func firstDifferences(want, seen []string, most int) (found []string) {
	byPath := func(a, b string) int { return strings.Compare(a[2:], b[2:]) }
	slices.SortFunc(want, byPath)
	if !slices.IsSortedFunc(seen, byPath) {
		found = append(found, "thinctl's lines are not sorted")
	}
	for i := range max(len(want), len(seen)) {
		a, b := "nothing", "nothing"
		if i < len(want) {
			a = want[i]
		}
		if i < len(seen) {
			b = seen[i]
		}
		if a != b && len(found) < most {
			found = append(found, fmt.Sprintf("line %d: docker has %q, thinctl %q", i, a, b))
		}
	}
	return found
}

// TestPeersDiff proves the reference of TestDiff: Docker's diff lists the changes that were
// made, twice the same.
func TestPeersDiff(t *testing.T) {
	b := changedImage(t)
	docker, root := startMapped(t, dockerArchive(t, b), b.Names[0])
	before := must[imagetest.Tree](t)(imagetest.ReadTree(t.Context(), root))
	check(t, imagetest.Mutate(root+"/usr", 1, diffChanges))
	after := must[imagetest.Tree](t)(imagetest.ReadTree(t.Context(), root))
	said := map[string]byte{}
	for _, line := range must[[]string](t)(docker.Diff(t.Context(), "changed")) {
		said[strings.TrimPrefix(line[2:], "/")] = line[0]
	}
	for path := range after {
		if _, ok := before[path]; !ok && said[path] != 'A' {
			t.Errorf("%s was added: docker diff: got %q", path, said[path])
		}
	}
	for path := range before {
		_, there := after[path]
		_, parent := after[path[:max(0, strings.LastIndex(path, "/"))]]
		if !there && parent && said[path] != 'D' {
			t.Errorf("%s was deleted: docker diff: got %q", path, said[path])
		}
	}
	must[string](t)(docker.Do(t.Context(), "rm", "-f", "changed"))
}
