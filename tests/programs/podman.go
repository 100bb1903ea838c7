package programs

import (
	"context"
	"path/filepath"

	"thinctl/internal/testkit/imagetest"
)

// Podman keeps images below a directory of its own.
type Podman struct {
	dir string
}

// NewPodman starts no daemon, because podman needs none.
func NewPodman(dir string) Podman { return Podman{dir} }

// Do runs the podman command.
func (p Podman) Do(ctx context.Context, args ...string) (string, error) {
	return Run(ctx, "podman", append([]string{"--root", filepath.Join(p.dir, "podman"),
		"--runroot", "/run/podman-" + filepath.Base(p.dir), "--storage-driver", "overlay"}, args...)...)
}

// Load loads an archive of Docker's or an OCI layout.
func (p Podman) Load(ctx context.Context, archive string) error {
	_, err := p.Do(ctx, "load", "-q", "-i", archive)
	return err
}

// Save writes images, by name, as an archive like Docker's.
func (p Podman) Save(ctx context.Context, archive string, names ...string) error {
	args := []string{"save", "-q", "--format", "docker-archive", "-o", archive}
	if len(names) > 1 {
		args = append(args, "-m")
	}
	_, err := p.Do(ctx, append(args, names...)...)
	return err
}

// ID returns the id of an image.
func (p Podman) ID(ctx context.Context, image string) (string, error) {
	return p.Do(ctx, "image", "inspect", "--format", "{{.Id}}", image)
}

// Tree returns the tree of an image, which is mounted for it.
func (p Podman) Tree(ctx context.Context, image string) (tree imagetest.Tree, err error) {
	root, err := p.Do(ctx, "image", "mount", image)
	if err != nil {
		return nil, err
	}
	defer func() {
		if _, unmounted := p.Do(ctx, "image", "unmount", image); err == nil {
			err = unmounted
		}
	}()
	tree, err = imagetest.ReadTree(ctx, root)
	return tree.Overlaid(), err
}
