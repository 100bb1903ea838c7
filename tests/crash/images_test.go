//go:build kernel

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"thinctl/fault"
	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/imagestest"
	"thinctl/internal/testkit/imagetest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// imageOperation is an operation on images.
type imageOperation struct {
	name string
	// first are the names that must exist before it; no others exist.
	first []string
	run   func(ctx context.Context, s *images.Store, loadable []*imagestest.Prepared, tell func(images.Progress)) error
	// name is the name that it adds or removes.
	brings, takes string
	// kills is the number of its steps at which a process is killed.
	kills int
}

const (
	containerName = "web"
	layerSize     = 200_000
)

func imageOperations() []imageOperation {
	load := func(at int) func(context.Context, *images.Store, []*imagestest.Prepared, func(images.Progress)) error {
		return func(ctx context.Context, s *images.Store, loadable []*imagestest.Prepared, tell func(images.Progress)) error {
			return loadImage(ctx, s, loadable[at], tell)
		}
	}
	return []imageOperation{
		{name: "load", run: load(0), brings: "one:1", kills: 5},
		{name: "load shared", first: []string{"one:1"}, run: load(1), brings: "two:1", kills: 3},
		{name: "commit", first: []string{"one:1"}, brings: "mine:1", kills: 3,
			run: func(ctx context.Context, s *images.Store, _ []*imagestest.Prepared, _ func(images.Progress)) error {
				name, err := reference.Parse("mine:1")
				if err == nil {
					_, err = s.Commit(ctx, containerName, images.CommitOptions{Names: []reference.Reference{name}})
				}
				return err
			}},
		{name: "remove", first: []string{"one:1", "two:1"}, takes: "two:1", kills: 3,
			run: func(ctx context.Context, s *images.Store, _ []*imagestest.Prepared, _ func(images.Progress)) error {
				_, err := s.Remove(ctx, []string{"two:1"}, images.RemoveOptions{})
				return err
			}},
	}
}

func loadImage(ctx context.Context, s *images.Store, image *imagestest.Prepared, tell func(images.Progress)) error {
	var refs []reference.Reference
	for _, name := range image.Names {
		ref, err := reference.Parse(name)
		if err != nil {
			return err
		}
		refs = append(refs, ref)
	}
	_, err := s.Load(ctx, image.Image, images.LoadOptions{Names: refs, Progress: tell})
	return err
}

// The two pools have different file systems; every third kill is in the second.
var imagePools = []struct {
	name string
	fs   filesystem.Type
	size units.Bytes
}{{"on-ext4", filesystem.Ext4, 64 * units.MiB}, {"on-xfs", filesystem.XFS, 320 * units.MiB}}

// TestImagesKilled kills a process while it loads, commits or removes an image. The
// operation is then done or undone, every image and layer is whole, and nothing is left.
// The kills are spread over the steps; with THINCTL_EVERY_STEP they are at all of them.
func TestImagesKilled(t *testing.T) {
	host, letGo, err := OpenHost()
	if err != nil {
		t.Fatal(err)
	}
	defer letGo()
	root := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	k := &imageKills{t: t, host: host, root: root}
	if k.Images, err = Images(ctx, layerSize); err != nil {
		t.Fatal(err)
	}
	for _, p := range imagePools {
		pool, err := thinpool.Create(ctx, host, root, p.name, thinpool.CreateOptions{
			DataSize: 512 * units.MiB, MetadataSize: 8 * units.MiB, BaseSize: p.size, Reserve: &thinpool.Reserve{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := pool.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, operation := range imageOperations() {
		t.Run(operation.name, func(t *testing.T) { k.all(ctx, t, operation) })
	}
	for _, p := range imagePools {
		if err := k.in(ctx, p.name, k.empty); err != nil {
			t.Error(err)
		}
		if err := destroyChecked(ctx, host, root, p.name); err != nil {
			t.Error(err)
		}
	}
	if err := NothingLeft(ctx, root); err != nil {
		t.Error(err)
	}
}

type imageKills struct {
	t    *testing.T
	host thinpool.Host
	root string
	Inventory
	count int
}

// in opens the images of a pool and calls do with them.
func (k *imageKills) in(ctx context.Context, pool string, do func(context.Context, *images.Store) error) error {
	fs := imagePools[0].fs
	if pool != imagePools[0].name {
		fs = imagePools[1].fs
	}
	s, err := OpenImages(ctx, k.host, filesystem.Local{}, k.root, pool, fs)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, s), s.Layers().Pool().Close(ctx))
}

// all kills an operation at some of its steps, or at all if it has few.
func (k *imageKills) all(ctx context.Context, t *testing.T, o imageOperation) {
	began := time.Now()
	// The first run goes to its end and shows how many steps there are.
	steps, err := k.once(ctx, t, o, imagePools[0].name, 0)
	if err != nil {
		t.Fatal(err)
	}
	kills := o.kills
	if os.Getenv("THINCTL_EVERY_STEP") != "" {
		kills = steps
	}
	for i := range kills {
		pool := imagePools[0]
		if k.count++; k.count%3 == 0 {
			pool = imagePools[1]
		}
		n := 1 + i*(steps-1)/max(kills-1, 1)
		if _, err := k.once(ctx, t, o, pool.name, n); err != nil {
			t.Fatalf("%s, step %d of %d: %v", pool.name, n, steps, err)
		}
	}
	t.Logf("%d steps, %d kills in %s", steps, kills+1, time.Since(began).Round(time.Millisecond))
}

// once kills a process before the n-th step of an operation, or after the last if n is 0.
// It returns the step's number.
func (k *imageKills) once(ctx context.Context, t *testing.T, o imageOperation, pool string, n int) (step int,
	err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var before map[string]string
	err = k.in(ctx, pool, func(ctx context.Context, s *images.Store) error {
		if err := k.prepare(ctx, s, o); err != nil {
			return err
		}
		before, err = namesOf(ctx, s)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("preparing: %w", err)
	}
	said, err := killImagesAt(ctx, t, k.root, pool, o, n)
	if err != nil {
		return 0, err
	}
	step, what := 0, ""
	if _, err := fmt.Sscanf(said, "%d %s", &step, &what); err != nil {
		return 0, fmt.Errorf("output of the child: %q: %w", said, err)
	}
	err = thinpooltest.Reopen(ctx, k.host, k.root)
	if err == nil {
		err = k.in(ctx, pool, func(ctx context.Context, s *images.Store) error {
			return k.verify(ctx, s, o, before, what == acknowledged)
		})
	}
	if err == nil {
		err = Leaks(k.root)
	}
	if err != nil {
		return 0, fmt.Errorf("killed at %s: %w", said, err)
	}
	return step, nil
}

// prepare makes the names that an operation begins with, and removes all others and loose
// layers.
func (k *imageKills) prepare(ctx context.Context, s *images.Store, o imageOperation) error {
	if err := removeOthers(ctx, s, o.first); err != nil {
		return err
	}
	there, err := namesOf(ctx, s)
	if err != nil {
		return err
	}
	for _, name := range o.first {
		for _, image := range k.Images {
			if image.Names[0] != name || there[name] != "" {
				continue
			}
			if err := loadImage(ctx, s, image, nil); err != nil {
				return err
			}
		}
	}
	if o.name != "commit" {
		return nil
	}
	return k.furnish(ctx, s)
}

// furnish mounts a container and writes a file that no other container has had.
func (k *imageKills) furnish(ctx context.Context, s *images.Store) error {
	image, err := s.Image(ctx, "one:1")
	if err != nil {
		return err
	}
	_, err = s.Layers().CreateContainer(ctx,
		layers.ContainerOptions{Name: containerName, Image: image.Key, Layer: image.Top()})
	if err != nil && !errors.Is(err, fault.Exists) {
		return err
	}
	target, err := s.Layers().MountContainer(ctx, containerName, layers.MountOptions{})
	if err != nil {
		return err
	}
	text := strings.Repeat(fmt.Sprintln("kill", k.count, time.Now()), 1000)
	if err := os.WriteFile(filepath.Join(target, "text"), []byte(text), 0o600); err != nil {
		return err
	}
	tree, err := imagetest.ReadTree(ctx, target)
	delete(tree, "lost+found")
	k.Committed = []string{tree.Digest()}
	return err
}

// removeOthers removes the images that have none of the names, and all layers that no image
// needs.
func removeOthers(ctx context.Context, s *images.Store, keep []string) error {
	if len(keep) == 0 || keep[0] != "one:1" {
		if _, err := s.Layers().RemoveContainer(ctx, containerName, layers.RemoveOptions{}); err != nil &&
			!errors.Is(err, fault.NotFound) {
			return err
		}
	}
	all, err := s.Images(ctx)
	if err != nil {
		return err
	}
	for _, image := range all {
		if wanted(image, keep) {
			continue
		}
		if _, err := s.Remove(ctx, []string{image.Key}, images.RemoveOptions{Force: true}); err != nil {
			return err
		}
	}
	left, err := s.Layers().Layers(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, layer := range left {
		ids = append(ids, layer.ID)
	}
	_, err = s.Layers().RemoveLayers(ctx, ids, layers.RemovalOptions{Needed: images.Needed, Unused: true})
	return errors.Join(err, s.Recover(ctx)) // of these layers
}

func wanted(image images.Image, keep []string) bool {
	for _, name := range image.Names {
		for _, k := range keep {
			if name.Familiar() == k {
				return true
			}
		}
	}
	return false
}

func (k *imageKills) empty(ctx context.Context, s *images.Store) error {
	if err := removeOthers(ctx, s, nil); err != nil {
		return err
	}
	_, err := k.Whole(ctx, s)
	return err
}

// namesOf returns the names and the keys of their images.
func namesOf(ctx context.Context, s *images.Store) (map[string]string, error) {
	all, err := s.Images(ctx)
	names := map[string]string{}
	for _, image := range all {
		for _, name := range image.Names {
			names[name.Familiar()] = image.Key
		}
	}
	return names, err
}

// verify does what the next process does: it recovers, compares, and repeats what was
// undone.
func (k *imageKills) verify(ctx context.Context, s *images.Store, o imageOperation, before map[string]string,
	told bool) error {
	if err := s.Recover(ctx); err != nil {
		return err
	}
	if _, err := k.Whole(ctx, s); err != nil {
		return err
	}
	after, err := namesOf(ctx, s)
	if err != nil {
		return err
	}
	done := o.takes != "" && after[o.takes] == "" || o.brings != "" && after[o.brings] != ""
	if told && !done {
		return fmt.Errorf("acknowledged, and not done: %v", after)
	}
	rest := func(names map[string]string) map[string]string {
		names = maps.Clone(names)
		delete(names, o.takes)
		delete(names, o.brings)
		return names
	}
	if !maps.Equal(rest(before), rest(after)) {
		return fmt.Errorf("there was %v, there is %v", before, after)
	}
	if !done {
		if err := o.run(ctx, s, k.Images, nil); err != nil {
			return fmt.Errorf("repeated: %w", err)
		}
		if err := agree(ctx, s); err != nil {
			return fmt.Errorf("repeated: %w", err)
		}
	}
	return idleCheck(ctx, k.host, s.Layers().Pool())
}

// killImagesAt starts a child and waits until it has killed itself. It returns the step's
// number, and the step's description or "acknowledged".
func killImagesAt(ctx context.Context, t *testing.T, root, pool string, o imageOperation, n int) (string, error) {
	t.Helper()
	cmd := child(t, root, fmt.Sprintf("images %d %s %s", n, pool, o.name))
	var out, faults bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &faults
	if err := cmd.Start(); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	if !stop() {
		return "", fmt.Errorf("the child hung: %w", ctx.Err())
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return "", fmt.Errorf("the child ended by itself: %s: %w", faults.String(), errors.Join(err, errNotKilled))
	}
	return strings.TrimSpace(out.String()), nil
}

// imagesKilled is the child; its arguments are "N POOL OPERATION".
func imagesKilled(ctx context.Context, rest string) error {
	number, rest, _ := strings.Cut(rest, " ")
	pool, name, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	host, _, err := OpenHost()
	if err != nil {
		return err
	}
	count := 0
	take := func(step string, do func() error) error {
		if count++; count == n {
			fmt.Printf("%d %s\n", n, step)
			die()
		}
		return do()
	}
	fs := imagePools[0].fs
	if pool != imagePools[0].name {
		fs = imagePools[1].fs
	}
	loadable, err := Images(ctx, layerSize)
	if err != nil {
		return err
	}
	s, err := OpenImages(ctx, thinpooltest.Steps(host, take), StepFiles(filesystem.Local{}, take), os.Args[1], pool, fs)
	if err != nil {
		return err
	}
	// A kill while a layer's files are written counts as a step too.
	tell := func(p images.Progress) {
		_ = take(fmt.Sprintf("layer %d %s", p.Layer, p.State), func() error { return nil })
	}
	for _, o := range imageOperations() {
		if o.name != name {
			continue
		}
		if err := o.run(ctx, s, loadable, tell); err != nil {
			return err
		}
		fmt.Fprintf(os.Stdout, "%d %s\n", count, acknowledged)
		die()
	}
	return fmt.Errorf("no operation %q: %w", name, io.EOF)
}
