//go:build systemd

package roundtrip

import (
	"os"
	"slices"
	"testing"

	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/programs"
)

// TestPeers proves the reference: the other programs make of our images what the tree in
// memory holds.
func TestPeers(t *testing.T) {
	for _, s := range small() {
		t.Run(s.name, func(t *testing.T) {
			b := build(t, s.image)
			want := must[imagetest.Tree](t)(s.image.Tree())
			archive := dockerArchive(t, b)
			t.Run("docker", func(t *testing.T) { peerDocker(t, b, archive, want) })
			t.Run("podman", func(t *testing.T) { peerPodman(t, b, archive, want) })
			t.Run("skopeo", func(t *testing.T) { peerSkopeo(t, b, archive) })
		})
	}
}

func peerDocker(t *testing.T, b *imagetest.Built, archive string, want imagetest.Tree) {
	docker := theDocker(t)
	check(t, docker.Load(t.Context(), archive))
	for _, name := range b.Names {
		if id := must[string](t)(docker.ID(t.Context(), name)); id != b.ID {
			t.Errorf("docker's id of %s: got %s, want the digest of its config, %s", name, id, b.ID)
		}
	}
	sameTree(t, "docker", want, must[imagetest.Tree](t)(docker.Tree(t.Context(), b.Names[0])))
	sameHistory(t, "docker", b, must[[]programs.Step](t)(docker.History(t.Context(), b.Names[0])))
}

func peerPodman(t *testing.T, b *imagetest.Built, archive string, want imagetest.Tree) {
	podman := thePodman()
	check(t, podman.Load(t.Context(), archive))
	if id := must[string](t)(podman.ID(t.Context(), b.ID)); id != b.ID {
		t.Errorf("podman's id: got %s, want the digest of its config, %s", id, b.ID)
	}
	sameTree(t, "podman", want, must[imagetest.Tree](t)(podman.Tree(t.Context(), b.ID)))
}

func peerSkopeo(t *testing.T, b *imagetest.Built, archive string) {
	for _, c := range []imagetest.Compression{imagetest.None, imagetest.Gzip, imagetest.Zstd} {
		layout := writeTo(t, "layout.tar", func(f *os.File) error { return imagetest.WriteOCI(f, c, b) })
		from := "oci-archive:" + layout + ":" + b.Names[0]
		if id := must[string](t)(programs.SkopeoID(t.Context(), from)); id != b.ID {
			t.Errorf("%q: skopeo's digest of the config: got %s, want %s", c, id, b.ID)
		}
		to := "oci-archive:"
		if c != imagetest.Zstd { // it refuses to convert that
			to = "docker-archive:"
		}
		check(t, programs.SkopeoCopy(t.Context(), from, to+t.TempDir()+"/back.tar:"+b.Names[0]))
	}
	if id := must[string](t)(programs.SkopeoID(t.Context(), "docker-archive:"+archive+":"+b.Names[0])); id != b.ID {
		t.Errorf("skopeo's digest of the config: got %s, want %s", id, b.ID)
	}
}

// sameHistory compares with a program's output, the newest step first.
func sameHistory(t *testing.T, who string, b *imagetest.Built, seen []programs.Step) {
	t.Helper()
	var want []programs.Step
	layer := 0
	for _, h := range b.History {
		step := programs.Step{CreatedBy: h.CreatedBy, Created: h.Created}
		if !h.EmptyLayer {
			step.Size = b.Contents[layer].Size()
			layer++
		}
		want = append(want, step)
	}
	slices.Reverse(want)
	if !slices.Equal(want, seen) {
		t.Errorf("%s: history\n want %v\n seen %v", who, want, seen)
	}
}

func TestPeersRegistry(t *testing.T) {
	docker, registry := theDocker(t), theRegistry(t)
	one := the(t, "one")
	check(t, docker.Load(t.Context(), dockerArchive(t, one)))
	name := registry.Address + "/peers/one:1"
	for _, args := range [][]string{
		{"tag", one.Names[0], name}, {"push", "-q", name}, {"rmi", name}, {"pull", "-q", name},
	} {
		must[string](t)(docker.Do(t.Context(), args...))
	}
	if id := must[string](t)(docker.ID(t.Context(), name)); id != one.ID {
		t.Errorf("id after the registry: got %s, want %s", id, one.ID)
	}
	if id := must[string](t)(programs.SkopeoID(t.Context(), "docker://"+name)); id != one.ID {
		t.Errorf("skopeo's digest of the config in the registry: got %s, want %s", id, one.ID)
	}
}
