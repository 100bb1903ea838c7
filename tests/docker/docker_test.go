//go:build systemd

package docker

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"thinctl/tests/programs"
)

// TestDocker repeats the experiments of Docker's devicemapper driver, as their texts type
// them, on a current Docker.
func TestDocker(t *testing.T) {
	f := newFixture(t, "", "--data-size", "8G")
	defer f.Print()
	f.images()
	f.containers()
	f.zeros()
	f.fewerZeros()
	f.commit()
	f.killed()
	f.saveAndLoad()
	f.prune()
}

// images builds the two images, one with each builder.
func (f *fixture) images() {
	one, two := f.contexts()
	before := f.space()
	_, err := f.d.Build(f.Context(), false, one, "one")
	f.check(err)
	after := f.space()
	// 236.9 MB, the empty file system, and what each of its layers and inits copies of it.
	f.Within("docker build, image 1: data", "590 M", after.Data.Used-before.Data.Used,
		236_900_000/f.scale, 236_900_000/f.scale*5/4+12*small)
	before = after
	if _, err = f.d.Build(f.Context(), true, two, "two"); err != nil {
		f.Fatal(err)
	}
	f.Within("docker build with BuildKit, image 2: data", "+197 M", f.space().Data.Used-before.Data.Used,
		172_100_000/f.scale, 172_100_000/f.scale*5/4+10*small)
	names := strings.Fields(f.docker("images", "--format", "{{.Repository}}:{{.Tag}}"))
	slices.Sort(names)
	f.Same("docker images", "", "[one:latest two:latest]", fmt.Sprint(names))
	var sizes []int64
	for _, word := range strings.Fields(f.docker("history", "--human=false", "--format", "{{.Size}}", "one")) {
		n, err := strconv.ParseInt(word, 10, 64)
		f.check(err)
		sizes = append(sizes, n)
	}
	// The newest step is the first: CMD, ADD, EXPOSE, ENV, RUN, ADD, LABEL, ADD.
	if len(sizes) != 8 {
		f.Fatalf("docker history: got %d, want 8 steps", len(sizes))
	}
	f.Within("docker history: ADD of 37.8 MB", "37.8 MB", sizes[1], 37_800_000/f.scale, 37_800_000/f.scale*5/4+small)
	f.Within("docker history: ADD of 198.9 MB", "198.9 MB", sizes[5], 198_900_000/f.scale, 198_900_000/f.scale*5/4+small)
	f.Same("docker history: CMD, EXPOSE, ENV, LABEL", "0", "0 0 0 0", fmt.Sprint(sizes[0], sizes[2], sizes[3], sizes[6]))
}

func (f *fixture) containers() {
	before := f.space()
	f.run("c1")
	f.Within("docker run: data", "+2 M", f.space().Data.Used-before.Data.Used, 0, small)
	if got := f.docker("exec", "c1", "/busybox", "sh", "-c", "test -s /written && echo it runs"); got != "it runs" {
		f.Errorf("docker exec printed %q, want it runs", got)
	}
	one := f.space()
	for n := 2; n <= 5; n++ {
		f.run(fmt.Sprint("c", n))
	}
	f.Within("four more, each: data", "tens of KB", (f.space().Data.Used-one.Data.Used)/4, 0, small/2)
}

// dd writes so many MiB of zeros, scaled, as the texts do.
func (f *fixture) dd(count int64) (written int64) {
	f.Helper()
	f.docker("exec", "c1", "/busybox", "dd", "if=/dev/zero", "of=/test.txt", "bs=1M", fmt.Sprint("count=", count/f.scale))
	f.docker("exec", "c1", "/busybox", "sync")
	return count / f.scale * mib
}

func (f *fixture) zeros() {
	before, size := f.space(), f.size("c1")
	written := f.dd(8000)
	after := f.space()
	f.Within("dd 8000 x 1 MiB: data", "8.6 G", after.Data.Used-before.Data.Used, written, written+written/100+small)
	f.Within("dd 8000 x 1 MiB: metadata", "9.4 M", after.Metadata.Used-before.Metadata.Used, 0, 8*mib)
	f.Within("docker ps -s", "7.5 G", f.size("c1")-size, written-small, written+written/100+small)
	f.Same("docker diff", "A /test.txt", "A /test.txt", f.docker("diff", "c1"))
}

func (f *fixture) fewerZeros() {
	before := f.space()
	f.docker("exec", "c1", "/busybox", "rm", "/test.txt")
	f.dd(3000)
	_, err := f.pool.Do(f.Context(), "pool", "trim", f.pool.Pool)
	f.check(err)
	back := (8000/f.scale - 3000/f.scale) * mib
	f.Within("rm, dd 3000, thinctl pool trim: data back", "", before.Data.Used-f.space().Data.Used, back-small, back+small)
}

// commit commits the running container. Docker keeps an image twice: compressed, and as
// the snapshot that the layer is unpacked to.
func (f *fixture) commit() {
	written := 3000 / f.scale * mib
	before := f.space()
	began := time.Now()
	f.docker("commit", "c1", "committed")
	f.Logf("docker commit took %.1f s", time.Since(began).Seconds())
	f.Within("docker commit: new data", "3.0 G, a copy", f.space().Data.Used-before.Data.Used, 0, written+2*small)
	if got := f.docker("inspect", "--format", "{{.State.Running}}", "c1"); got != "true" {
		f.Errorf("the container runs after its commit: %s", got)
	}
	size := f.docker("run", "--rm", "--network=none", "committed", "/busybox", "stat", "-c", "%s", "/test.txt")
	f.Same("the committed /test.txt", "", fmt.Sprint(written), size)
	before = f.space()
	f.docker("rm", "-f", "c1")
	f.until("space of the container", func() error {
		if back := before.Data.Used - f.space().Data.Used; back < written-small {
			return fmt.Errorf("got %d bytes back, want %d", back, written)
		}
		return nil
	})
}

// killed kills each daemon while containers run. They continue, and all commands work
// after the daemon was started again.
func (f *fixture) killed() {
	pid := f.docker("inspect", "--format", "{{.State.Pid}}", "c2")
	for name, d := range map[string]interface {
		Kill() error
		Restart(ctx context.Context) error
	}{"dockerd": f.d, "containerd": f.c, "thinctl serve": f.s} {
		f.check(d.Kill())
		f.check(d.Restart(f.Context()))
		f.until("docker exec after "+name+" was killed", func() error {
			_, err := f.d.Do(f.Context(), "exec", "c2", "/busybox", "true")
			return err
		})
		f.Same("after "+name+" was killed, the container's process", "", pid,
			f.docker("inspect", "--format", "{{.State.Pid}}", "c2"))
		f.docker("run", "--rm", "--network=none", "one", "/busybox", "true")
	}
}

// saveAndLoad writes the images to an archive, removes them, and reads it.
func (f *fixture) saveAndLoad() {
	id := func(image string) string { return f.docker("inspect", "--format", "{{.Id}}", image) }
	before := id("one") + id("two")
	archive := filepath.Join(f.dir, "both.tar")
	f.docker("save", "-o", archive, "one", "two")
	for n := 2; n <= 5; n++ {
		f.docker("rm", "-f", fmt.Sprint("c", n))
	}
	f.docker("rmi", "one", "two", "committed")
	f.docker("system", "prune", "-af") // the caches of both builders
	f.empty()
	f.check(f.d.Load(f.Context(), archive))
	f.Same("docker save, rmi, load: ids", "", before, id("one")+id("two"))
	f.run("c1")
	if got := f.docker("exec", "c1", "/busybox", "sh", "-c", "test -s /written && echo it runs"); got != "it runs" {
		f.Errorf("docker exec printed %q, want it runs", got)
	}
}

func (f *fixture) prune() {
	if out, err := f.d.Do(f.Context(), "rmi", "one"); err == nil {
		f.Errorf("an image in use was removed: %s", out)
	}
	f.docker("rm", "-f", "c1")
	f.docker("system", "prune", "-af")
	f.Same("docker system df after docker system prune", "", "0B 0B 0B 0B",
		strings.Join(strings.Fields(f.docker("system", "df", "--format", "{{.Size}}")), " "))
	f.empty()
}

// TestDockerFull runs containers in a pool whose reserve is used up. Docker's error names the command
// that extends the pool, and with it all works again.
func TestDockerFull(t *testing.T) {
	f := newFixture(t, "[extend]\nenabled = false\n", "--data-size", "512M", "--full", "error")
	one, _ := f.contexts()
	_, err := f.d.Build(f.Context(), false, one, "one")
	f.check(err)
	f.run("c1")
	_, err = f.pool.Do(f.Context(), "volume", "create", "vault", "filler", "--size", "1G")
	f.check(err)
	_, err = f.pool.Do(f.Context(), "volume", "activate", "vault", "filler")
	f.check(err)
	out, err := programs.Run(f.Context(), "dd", "if=/dev/zero", "of=/dev/mapper/thinctl-vault-filler", "bs=64k",
		"oflag=direct")
	if err == nil {
		t.Fatalf("1 GiB fits into a pool of 512 MiB: %s", out)
	}
	out, err = f.d.Do(f.Context(), "run", "--rm", "--network=none", "one", "/busybox", "true")
	if err == nil || !strings.Contains(err.Error(), "thinctl pool extend") {
		t.Errorf("docker run in a full pool: got %q, %v; want the command that extends it", out, err)
	}
	f.refused++
	_, err = f.pool.Do(f.Context(), "pool", "extend", f.pool.Pool, "--data", "+1G")
	f.check(err)
	f.docker("run", "--rm", "--network=none", "one", "/busybox", "true")
	if got := f.docker("exec", "c1", "/busybox", "sh", "-c", "test -s /written && echo it runs"); got != "it runs" {
		t.Errorf("docker exec printed %q, want it runs", got)
	}
	f.docker("rm", "-f", "c1")
	f.docker("system", "prune", "-af")
	f.empty()
}
