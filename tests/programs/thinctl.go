package programs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"thinctl/internal/testkit/imagetest"
)

// Thinctl is the thinctl command with one pool.
type Thinctl struct {
	Program string // "" is the one on PATH
	Root    string
	Pool    string
	Env     []string // added to the caller's
}

// Do runs the thinctl command.
func (p Thinctl) Do(ctx context.Context, args ...string) (string, error) {
	program := p.Program
	if program == "" {
		program = "thinctl"
	}
	return RunWith(ctx, p.Env, program, append([]string{"--root", p.Root}, args...)...)
}

// JSON parses the output of the command with --json.
func (p Thinctl) JSON(ctx context.Context, into any, args ...string) error {
	out, err := p.Do(ctx, append(args, "--json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("thinctl %s: unexpected output %.200q: %w", strings.Join(args, " "), out, err)
	}
	return nil
}

// OfContainerd returns the volumes that belong to a containerd, as `thinctl pool usage`
// lists them.
func (p Thinctl) OfContainerd(ctx context.Context) (names []string, err error) {
	var usage struct {
		Volumes []struct {
			Volume string `json:"volume"`
		} `json:"volumes"`
	}
	if err := p.JSON(ctx, &usage, "pool", "usage", p.Pool); err != nil {
		return nil, err
	}
	for _, v := range usage.Volumes {
		if strings.HasPrefix(v.Volume, "containerd-") {
			names = append(names, v.Volume)
		}
	}
	return names, nil
}

// Sound returns an error unless `thinctl pool check` has no finding.
func (p Thinctl) Sound(ctx context.Context) error {
	var report struct {
		Pools []struct {
			Healthy  bool              `json:"healthy"`
			Findings []json.RawMessage `json:"findings"`
		} `json:"pools"`
	}
	if err := p.JSON(ctx, &report, "pool", "check", p.Pool); err != nil {
		return err
	}
	if len(report.Pools) != 1 || !report.Pools[0].Healthy || len(report.Pools[0].Findings) > 0 {
		return fmt.Errorf("thinctl pool check: got %+v", report)
	}
	return nil
}

// Create makes the pool.
func (p Thinctl) Create(ctx context.Context, flags ...string) error {
	_, err := p.Do(ctx, append([]string{"pool", "create", p.Pool}, flags...)...)
	return err
}

// Destroy destroys the pool with all its contents.
func (p Thinctl) Destroy(ctx context.Context) error {
	_, err := p.Do(ctx, "pool", "destroy", p.Pool, "--yes")
	return err
}

// Load loads an archive of Docker's or an OCI layout.
func (p Thinctl) Load(ctx context.Context, archive string, flags ...string) error {
	_, err := p.Do(ctx, append([]string{"image", "load", p.Pool, "--input", archive}, flags...)...)
	return err
}

// Save writes images, by name, as an archive like Docker's.
func (p Thinctl) Save(ctx context.Context, archive string, names ...string) error {
	_, err := p.Do(ctx, append([]string{"image", "save", p.Pool, "--output", archive}, names...)...)
	return err
}

// ID returns the id of an image, without "sha256:".
func (p Thinctl) ID(ctx context.Context, image string) (string, error) {
	var found struct {
		Images []struct {
			ID string `json:"Id"`
		} `json:"images"`
	}
	err := p.JSON(ctx, &found, "image", "inspect", p.Pool, image, "--digest")
	if err == nil && len(found.Images) != 1 {
		err = fmt.Errorf("thinctl image inspect of %s finds %d images", image, len(found.Images))
	}
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(found.Images[0].ID, "sha256:"), nil
}

// History returns the history of an image, the newest step first.
func (p Thinctl) History(ctx context.Context, image string) ([]Step, error) {
	var found struct {
		History []Step `json:"history"`
	}
	err := p.JSON(ctx, &found, "image", "history", p.Pool, image)
	return found.History, err
}

// Mount makes a container of an image and returns its mount point.
func (p Thinctl) Mount(ctx context.Context, image, container string) (string, error) {
	if _, err := p.Do(ctx, "container", "create", p.Pool, image, "--name", container); err != nil {
		return "", err
	}
	return p.Do(ctx, "container", "mount", p.Pool, container)
}

// Remove unmounts a container and removes it.
func (p Thinctl) Remove(ctx context.Context, container string) error {
	if _, err := p.Do(ctx, "container", "unmount", p.Pool, container); err != nil {
		return err
	}
	_, err := p.Do(ctx, "container", "remove", p.Pool, container, "--yes")
	return err
}

// Tree returns the tree of an image, read from a container of it, with the init's stubs:
// see WithoutStubs.
func (p Thinctl) Tree(ctx context.Context, image string) (tree imagetest.Tree, err error) {
	root, err := p.Mount(ctx, image, "tree")
	if err != nil {
		return nil, err
	}
	defer func() {
		if removed := p.Remove(ctx, "tree"); err == nil {
			err = removed
		}
	}()
	return imagetest.ReadTree(ctx, root)
}

// Diff returns the output of `thinctl container diff`.
func (p Thinctl) Diff(ctx context.Context, container string) ([]string, error) {
	out, err := p.Do(ctx, "container", "diff", p.Pool, container)
	if err != nil || out == "" {
		return nil, err
	}
	return strings.Split(out, "\n"), nil
}
