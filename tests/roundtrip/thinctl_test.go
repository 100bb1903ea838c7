//go:build systemd

package roundtrip

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/programs"
)

// newPool makes a pool that is destroyed at the end of the test.
func newPool(t *testing.T) programs.Thinctl {
	t.Helper()
	p := programs.Thinctl{Root: t.TempDir(), Pool: fmt.Sprint("rt", here.pools.Add(1))} // devices have the name
	check(t, p.Create(t.Context(), "--data-size", "16G"))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := p.Destroy(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// holds checks that thinctl has the whole image.
func holds(t *testing.T, p programs.Thinctl, b *imagetest.Built) {
	t.Helper()
	for _, name := range b.Names {
		if id := must[string](t)(p.ID(t.Context(), name)); id != b.ID {
			t.Errorf("thinctl's id of %s: got %s, want the digest of its config, %s", name, id, b.ID)
		}
	}
	sameHistory(t, "thinctl", b, must[[]programs.Step](t)(p.History(t.Context(), b.Names[0])))
	want := must[imagetest.Tree](t)(b.Tree())
	sameTree(t, "thinctl", want, must[imagetest.Tree](t)(p.Tree(t.Context(), b.Names[0])).WithoutStubs(want))
}

func TestLoad(t *testing.T) {
	for _, s := range whole() {
		t.Run(s.name, func(t *testing.T) {
			p, b := newPool(t), build(t, s.image)
			check(t, p.Load(t.Context(), dockerArchive(t, b)))
			holds(t, p, b)
		})
	}
}

func TestLoadLayouts(t *testing.T) {
	for _, c := range []imagetest.Compression{imagetest.None, imagetest.Gzip, imagetest.Zstd} {
		t.Run("of "+string(c), func(t *testing.T) {
			p := newPool(t)
			var built []*imagetest.Built
			for _, name := range []string{"one", "two", "links", "special"} {
				built = append(built, the(t, name))
			}
			check(t, p.Load(t.Context(), writeTo(t, "layout.tar", func(f *os.File) error {
				return imagetest.WriteOCI(f, c, built...)
			})))
			for _, b := range built {
				holds(t, p, b)
			}
		})
	}
}

// Other programs load what thinctl saves: the same ids, histories and trees.
func TestSave(t *testing.T) {
	p := newPool(t)
	const dockersMost = 125 // layers: its maxLayerDepth (layer/layer_store.go)
	for _, s := range some(append(small(), sample{"many layers", imagetest.Deep(dockersMost)}), "special") {
		t.Run(s.name, func(t *testing.T) {
			b := build(t, s.image)
			check(t, p.Load(t.Context(), dockerArchive(t, b)))
			archive := t.TempDir() + "/saved.tar"
			check(t, p.Save(t.Context(), archive, b.Names...))
			want := must[imagetest.Tree](t)(s.image.Tree())
			t.Run("docker", func(t *testing.T) {
				// Otherwise Docker has the layers already, and reads none of these.
				theDocker(t).Do(t.Context(), "rmi", "-f", b.ID)
				peerDocker(t, b, archive, want)
			})
			t.Run("podman", func(t *testing.T) {
				thePodman().Do(t.Context(), "rmi", "-f", b.ID)
				peerPodman(t, b, archive, want)
			})
			t.Run("skopeo", func(t *testing.T) {
				to := "oci-archive:" + t.TempDir() + "/oci.tar:" + b.Names[0]
				check(t, programs.SkopeoCopy(t.Context(), "docker-archive:"+archive+":"+b.Names[0], to))
			})
			t.Run("a fresh pool", func(t *testing.T) {
				fresh := newPool(t)
				check(t, fresh.Load(t.Context(), archive))
				holds(t, fresh, b)
			})
		})
	}
}

// An image that docker built is loaded, saved, and loaded into Docker again.
func TestForeign(t *testing.T) {
	docker, p := theDocker(t), newPool(t)
	const name = "thinctl/built:docker"
	id := buildWithDocker(t, docker, name)
	want := must[imagetest.Tree](t)(docker.Tree(t.Context(), name))
	steps := must[[]programs.Step](t)(docker.History(t.Context(), name))
	archive := t.TempDir() + "/built.tar"
	check(t, docker.Save(t.Context(), archive, name))
	for _, from := range []struct{ name, skopeo, path string }{
		{"docker", "", archive},
		{"podman", "", t.TempDir() + "/podman.tar"},
		{"skopeo", "oci-archive:", t.TempDir() + "/oci.tar"},
	} {
		t.Run(from.name, func(t *testing.T) {
			switch from.name {
			case "podman":
				check(t, thePodman().Load(t.Context(), archive))
				must[string](t)(thePodman().Do(t.Context(), "tag", id, "docker.io/"+name))
				check(t, thePodman().Save(t.Context(), from.path, "docker.io/"+name))
			case "skopeo":
				check(t, programs.SkopeoCopy(t.Context(), "docker-archive:"+archive+":"+name, from.skopeo+from.path+":"+name))
			}
			if from.name == "docker" {
				check(t, p.Load(t.Context(), from.path))
				if seen := must[string](t)(p.ID(t.Context(), name)); seen != id {
					t.Errorf("ids: docker has %s, thinctl %s, want the same", id, seen)
				}
				sameSteps(t, steps, must[[]programs.Step](t)(p.History(t.Context(), name)))
				sameTree(t, "thinctl", want, must[imagetest.Tree](t)(p.Tree(t.Context(), name)).WithoutStubs(want))
				return
			}
			fresh := newPool(t)
			check(t, fresh.Load(t.Context(), from.path))
			sameTree(t, "thinctl", want, must[imagetest.Tree](t)(fresh.Tree(t.Context(), name)).WithoutStubs(want))
		})
	}
	t.Run("run", func(t *testing.T) {
		saved := t.TempDir() + "/saved.tar"
		check(t, p.Save(t.Context(), saved, name))
		must[string](t)(docker.Do(t.Context(), "rmi", "-f", id))
		check(t, docker.Load(t.Context(), saved))
		runs(t, docker, name)
	})
}

func sameSteps(t *testing.T, want, seen []programs.Step) {
	t.Helper()
	if len(want) != len(seen) {
		t.Fatalf("history\n want %v\n seen %v", want, seen)
	}
	for i := range want {
		seen[i].Created = seen[i].Created.Truncate(time.Second) // Docker prints no more
		if want[i] != seen[i] {
			t.Errorf("history, line %d\n want %v\n seen %v", i, want[i], seen[i])
		}
	}
}

func TestRegistry(t *testing.T) {
	docker, registry, p := theDocker(t), theRegistry(t), newPool(t)
	b := the(t, "special")
	check(t, p.Load(t.Context(), dockerArchive(t, b)))
	ours := registry.Address + "/ours/special:1"
	for _, args := range [][]string{{"image", "tag", p.Pool, b.Names[0], ours},
		{"image", "push", p.Pool, ours, "--insecure"}} {
		must[string](t)(p.Do(t.Context(), args...))
	}
	must[string](t)(docker.Do(t.Context(), "pull", "-q", ours))
	if id := must[string](t)(docker.ID(t.Context(), ours)); id != b.ID {
		t.Errorf("id that docker has pulled: got %s, want thinctl's %s", id, b.ID)
	}
	want := must[imagetest.Tree](t)(b.Tree())
	sameTree(t, "docker", want, must[imagetest.Tree](t)(docker.Tree(t.Context(), ours)))

	theirs := registry.Address + "/theirs/one:1"
	one := the(t, "one")
	check(t, docker.Load(t.Context(), dockerArchive(t, one)))
	must[string](t)(docker.Do(t.Context(), "tag", one.Names[0], theirs))
	must[string](t)(docker.Do(t.Context(), "push", "-q", theirs))
	must[string](t)(p.Do(t.Context(), "image", "pull", p.Pool, theirs, "--insecure"))
	pulled := *one
	pulled.Names = []string{theirs}
	holds(t, p, &pulled)
}

// A committed container has no tar until it is saved; then Docker reads it.
func TestCommit(t *testing.T) {
	docker, p := theDocker(t), newPool(t)
	one := the(t, "one")
	check(t, p.Load(t.Context(), dockerArchive(t, one)))
	root := must[string](t)(p.Mount(t.Context(), one.Names[0], "changed"))
	check(t, imagetest.Mutate(root+"/usr", 21, 300))
	want := must[imagetest.Tree](t)(imagetest.ReadTree(t.Context(), root))
	const name = "thinctl/committed:1"
	must[string](t)(p.Do(t.Context(), "container", "commit", p.Pool, "changed", name, "--author", "someone", "--message",
		"300 changes"))
	archive := t.TempDir() + "/committed.tar"
	check(t, p.Save(t.Context(), archive, name))
	check(t, docker.Load(t.Context(), archive))
	base := must[imagetest.Tree](t)(one.Tree())
	sameTree(t, "docker", want.WithoutStubs(base), must[imagetest.Tree](t)(docker.Tree(t.Context(), name)))
	fresh := newPool(t)
	check(t, fresh.Load(t.Context(), archive))
	sameTree(t, "thinctl", want.WithoutStubs(base),
		must[imagetest.Tree](t)(fresh.Tree(t.Context(), name)).WithoutStubs(base))
	check(t, p.Remove(t.Context(), "changed"))
}
