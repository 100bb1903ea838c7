//go:build systemd

package leniency

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/programs"
)

// peer is a program that gets an image. It returns the image's root. A nil tree without an
// error means that the tree is not compared.
type peer struct {
	name string
	try  func(ctx context.Context, f *fixture, in input) (imagetest.Tree, error)
}

var peers = []peer{
	{"thinctl", tryThinctl}, {"docker", tryDocker}, {"containerd", tryContainerd}, {"skopeo", trySkopeo},
}

// input is a row's image at the place where programs read it.
type input struct {
	quirk
	made
	dir    string
	path   string // of the archive or the directory
	remote string // what programs pull
	env    []string
}

// errDoesNotApply is returned for a form of image that a program does not read at all.
var errDoesNotApply = errors.New("-")

// compared reports whether the root is read.
func (in input) compared() bool { return !in.hostile && len(in.tree) > 0 }

// rooted reads the image's root by the image's name, or by its id if the image has no name.
func (in input) rooted(ctx context.Context,
	read func(context.Context, string) (imagetest.Tree, error)) (imagetest.Tree, error) {
	name := in.image()
	if in.form == registry {
		name = in.remote
	}
	tree, err := read(ctx, name)
	if err == nil {
		return tree, nil
	}
	tree, byID := read(ctx, in.source.ID())
	if byID != nil {
		return nil, err
	}
	return tree, nil
}

func tryThinctl(ctx context.Context, f *fixture, in input) (imagetest.Tree, error) {
	pool := f.pool
	pool.Env = in.env
	if in.form == registry {
		args := []string{"image", "pull", pool.Pool, in.remote}
		if in.away != "" {
			args = append(args, "--insecure")
		}
		if _, err := pool.Do(ctx, args...); err != nil {
			return nil, err
		}
	} else if err := pool.Load(ctx, in.path); err != nil {
		return nil, err
	}
	if !in.compared() {
		return nil, nil
	}
	f.containers.Lock()
	defer f.containers.Unlock()
	tree, err := in.rooted(ctx, pool.Tree)
	return tree.WithoutStubs(in.tree), err
}

func tryDocker(ctx context.Context, f *fixture, in input) (imagetest.Tree, error) {
	docker := *f.docker
	docker.Env = in.env
	switch in.form {
	case registry:
		if _, err := docker.Do(ctx, "pull", "-q", in.remote); err != nil {
			return nil, err
		}
	case layoutDir:
		return nil, errDoesNotApply
	default:
		if err := docker.Load(ctx, in.path); err != nil {
			return nil, err
		}
	}
	if !in.compared() {
		return nil, nil
	}
	return in.rooted(ctx, docker.Tree)
}

func tryContainerd(ctx context.Context, f *fixture, in input) (imagetest.Tree, error) {
	// Each row has a namespace: without names in the archive, ctr invents one.
	ctr := func(args ...string) (string, error) {
		return f.containerd.Do(ctx, append([]string{"--namespace", in.name}, args...)...)
	}
	image := in.remote
	switch in.form {
	case registry:
		if _, err := ctr("images", "pull", "--plain-http", "--snapshotter", "overlayfs", in.remote); err != nil {
			return nil, err
		}
	case layoutDir:
		return nil, errDoesNotApply
	default:
		if _, err := ctr("images", "import", "--snapshotter", "overlayfs", in.path); err != nil {
			return nil, err
		}
		names, err := ctr("images", "ls", "-q")
		if err != nil {
			return nil, err
		}
		image = strings.SplitN(names, "\n", 2)[0]
		if strings.Contains("\n"+names+"\n", "\n"+in.image()+"\n") {
			image = in.image()
		}
		if image == "" {
			return nil, errors.New("it imported nothing")
		}
	}
	if !in.compared() {
		return nil, nil
	}
	target := filepath.Join(in.dir, "mounted")
	if err := os.Mkdir(target, 0o755); err != nil {
		return nil, err
	}
	if _, err := ctr("images", "mount", "--snapshotter", "overlayfs", image, target); err != nil {
		return nil, err
	}
	tree, err := imagetest.ReadTree(ctx, target)
	_, unmounted := programs.Run(ctx, "umount", target)
	return tree.Overlaid(), errors.Join(err, unmounted)
}

func trySkopeo(ctx context.Context, f *fixture, in input) (imagetest.Tree, error) {
	from := map[form]string{
		dockerArchive: "docker-archive:" + in.path, layoutArchive: "oci-archive:" + in.path,
		layoutDir: "oci:" + in.path, registry: "docker://" + in.remote,
	}[in.form]
	name := "localhost/" + in.name + ":1"
	if err := programs.SkopeoCopyWith(ctx, in.env, from, f.storage.Place(name)); err != nil {
		return nil, err
	}
	if !in.compared() {
		return nil, nil
	}
	return f.storage.Tree(ctx, name)
}

// withoutAufs returns a tree without aufs's own files, which the drivers for overlayfs
// leave in the root.
func withoutAufs(t imagetest.Tree) imagetest.Tree {
	less, first := imagetest.Tree{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		n := t[name]
		if strings.HasPrefix(name, ".wh..wh.") {
			continue
		}
		if n.Group != "" {
			if first[n.Group] == "" {
				first[n.Group] = name
			}
			n.Group = first[n.Group]
		}
		less[name] = n
	}
	return less.Overlaid()
}

// prepare writes a row's image to a directory, or serves it.
func (f *fixture) prepare(q quirk) (in input, stop func(context.Context) error, err error) {
	stop = func(context.Context) error { return nil }
	in.quirk = q
	if in.made, err = q.make(); err != nil {
		return in, stop, err
	}
	if in.dir, err = os.MkdirTemp(f.dir, q.name+"-"); err != nil {
		return in, stop, err
	}
	if err := os.Mkdir(filepath.Join(in.dir, ".docker"), 0o700); err != nil {
		return in, stop, err
	}
	if strings.Contains(q.name, "login") {
		if err := os.WriteFile(filepath.Join(in.dir, ".docker/config.json"), []byte(q.login), 0o600); err != nil {
			return in, stop, err
		}
	}
	in.env = []string{"HOME=" + in.dir, "DOCKER_CONFIG=" + filepath.Join(in.dir, ".docker"),
		"PATH=" + filepath.Join(f.dir, "bin") + ":" + os.Getenv("PATH")}
	switch q.form {
	case registry:
		stop, err = in.serveParts()
	case layoutDir:
		in.path = filepath.Join(in.dir, "layout")
		for _, entry := range in.entries {
			path := filepath.Join(in.path, entry.Name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return in, stop, err
			}
			if err := os.WriteFile(path, entry.Data, 0o644); err != nil {
				return in, stop, err
			}
		}
	default:
		in.path = filepath.Join(in.dir, "image.tar")
		err = os.WriteFile(in.path, in.archive, 0o644)
	}
	return in, stop, err
}

func (in *input) serveParts() (stop func(context.Context) error, err error) {
	addresses := []string{"127.0.0.1:0"}
	if in.away != "" {
		addresses = []string{privateRegistry + ":0", in.away}
	}
	var served http.Handler = store{in.served}
	if in.serve != nil {
		served = in.serve(served)
	}
	var servers []*server
	stop = func(ctx context.Context) (err error) {
		for _, s := range servers {
			err = errors.Join(err, s.stop(ctx))
		}
		return err
	}
	for _, address := range addresses {
		s, err := startServer(address, served)
		if err != nil {
			return stop, errors.Join(err, stop(context.Background()))
		}
		servers = append(servers, s)
	}
	repository := servers[0].address + "/case/" + in.name
	in.remote = repository + ":1"
	if in.ref != nil {
		in.remote = in.ref(in.source, repository)
	}
	return stop, nil
}

// attemptDeadline bounds one program's attempt at one row. It does not measure speed: a
// program that waits for an answer forever counts as one that refuses.
const attemptDeadline = 4 * time.Minute
