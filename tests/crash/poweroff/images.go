package poweroff

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"thinctl/fault"
	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/imagestest"
	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/crash"
)

// The acts of the client of images.
const (
	actLoad   = "load"
	actCommit = "commit"
	actTag    = "tag"
	actRemove = "remove"
)

const (
	imageNames    = 4 // of the client's
	containerName = "web"
	// layerSize is the size of the images' largest layer. It is small, so that some loads
	// end before the power is cut.
	layerSize = 20_000
)

// imageAct is one change of a name that the client requests.
type imageAct struct {
	Op   string `json:"op"`
	Name string `json:"name"`
	// Tree is the digest of the tree that the name has afterwards; "" if the name is
	// removed.
	Tree string `json:"tree,omitempty"`
}

// shelf holds the images that the client has had acknowledged: they must exist, whatever
// happens.
type shelf struct {
	trees     map[string]string // name -> digest of the tree
	open      *imageAct
	committed []string // digests of trees that containers had
}

func newShelf() *shelf { return &shelf{trees: map[string]string{}} }

func (s *shelf) begin(act imageAct) {
	s.open = &act
	if act.Op == actCommit {
		s.committed = append(s.committed, act.Tree)
	}
}

func (s *shelf) done(act imageAct) {
	s.open = nil
	if act.Tree == "" {
		delete(s.trees, act.Name)
	} else {
		s.trees[act.Name] = act.Tree
	}
}

func (s *shelf) undone() { s.open = nil }

// imageClient drives the images of the pool, one act at a time.
type imageClient struct {
	store  *images.Store
	images []*imagestest.Prepared
	shelf  *shelf
	note   func(act imageAct, state string) error
}

// verify recovers the images and compares them with the shelf.
func (c *imageClient) verify(ctx context.Context) error {
	if err := c.store.Recover(ctx); err != nil {
		return err
	}
	inventory := crash.Inventory{Images: c.images, Committed: c.shelf.committed}
	trees, err := inventory.Whole(ctx, c.store)
	if err != nil {
		return err
	}
	there, err := c.names(ctx, trees)
	if err != nil {
		return err
	}
	if err := c.settle(there); err != nil {
		return err
	}
	var faults []error
	for name, tree := range c.shelf.trees {
		if there[name] != tree {
			faults = append(faults, fmt.Errorf("image %s has the tree %.12q, %.12q was acknowledged", name, there[name], tree))
		}
		delete(there, name)
	}
	for name := range there {
		faults = append(faults, fmt.Errorf("image %s is there and should not be", name))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return c.tidy(ctx)
}

// settle decides whether the act that the power cut interrupted has happened.
func (c *imageClient) settle(there map[string]string) error {
	if c.shelf.open == nil {
		return nil
	}
	act := *c.shelf.open
	// If it would change nothing it counts as done.
	done := there[act.Name] == act.Tree
	fmt.Printf("cut off: %s of %s, done %v\n", act.Op, act.Name, done)
	if done {
		c.shelf.done(act)
		return c.note(act, acknowledged)
	}
	c.shelf.undone()
	return c.note(act, undone)
}

// names returns the images' names with the digests of their trees. trees holds the digests
// that are already known.
func (c *imageClient) names(ctx context.Context, trees map[string]string) (map[string]string, error) {
	all, err := c.store.Images(ctx)
	if err != nil {
		return nil, err
	}
	there := map[string]string{}
	for _, image := range all {
		if len(image.Names) == 0 {
			continue
		}
		if trees[image.Top()] == "" {
			tree, err := imagestest.ReadTree(ctx, c.store.Layers(), image.Top())
			if err != nil {
				return nil, err
			}
			trees[image.Top()] = tree.Digest()
		}
		for _, name := range image.Names {
			there[name.Familiar()] = trees[image.Top()]
		}
	}
	return there, nil
}

// tidy removes the container of an interrupted commit, and images that have lost their
// names.
func (c *imageClient) tidy(ctx context.Context) error {
	_, err := c.store.Layers().RemoveContainer(ctx, containerName, layers.RemoveOptions{})
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	all, err := c.store.Images(ctx)
	for _, image := range all {
		if len(image.Names) == 0 {
			_, removed := c.store.Remove(ctx, []string{image.Key}, images.RemoveOptions{})
			err = errors.Join(err, removed)
		}
	}
	_, _, reaped := c.store.Layers().Pool().Reap(ctx) // writes the reaped ids to the database
	return errors.Join(err, reaped)
}

// empty removes all images and verifies that nothing is left of them.
func (c *imageClient) empty(ctx context.Context) error {
	for name := range c.shelf.trees {
		if _, err := c.store.Remove(ctx, []string{name}, images.RemoveOptions{}); err != nil {
			return err
		}
	}
	all, err := c.store.Layers().Layers(ctx)
	if err != nil {
		return err
	}
	var loose []string
	for _, layer := range all {
		loose = append(loose, layer.ID)
	}
	_, err = c.store.Layers().RemoveLayers(ctx, loose, layers.RemovalOptions{Needed: images.Needed})
	if err := errors.Join(err, c.store.Recover(ctx)); err != nil {
		return err
	}
	_, err = crash.Inventory{Images: c.images}.Whole(ctx, c.store)
	return err
}

// run performs random acts until ctx ends.
func (c *imageClient) run(ctx context.Context, random *rand.Rand) error {
	for ctx.Err() == nil {
		if err := c.step(ctx, random); err != nil {
			return fmt.Errorf("the images' client: %w", err)
		}
	}
	return nil
}

func (c *imageClient) step(ctx context.Context, random *rand.Rand) error {
	name := fmt.Sprintf("image:%d", random.IntN(imageNames))
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	some := ""
	for other := range c.shelf.trees {
		some = max(some, other)
	}
	switch pick := random.IntN(10); {
	case pick < 4 || some == "":
		return c.load(ctx, c.images[random.IntN(len(c.images))], ref)
	case pick < 5:
		return c.do(imageAct{Op: actTag, Name: name, Tree: c.shelf.trees[some]}, func() error {
			_, err := c.store.Tag(ctx, some, ref)
			return err
		})
	case pick < 8:
		return c.commit(ctx, some, ref, random)
	}
	return c.do(imageAct{Op: actRemove, Name: some}, func() error {
		_, err := c.store.Remove(ctx, []string{some}, images.RemoveOptions{})
		return err
	})
}

// first loads an image, so that the power cut need not wait for the first mkfs.
func (c *imageClient) first(ctx context.Context) error {
	name, err := reference.Parse("image:0")
	if err != nil {
		return err
	}
	return c.load(ctx, c.images[0], name)
}

func (c *imageClient) load(ctx context.Context, one *imagestest.Prepared, name reference.Reference) error {
	act := imageAct{Op: actLoad, Name: name.Familiar(), Tree: one.Trees[len(one.Trees)-1].Digest()}
	return c.do(act, func() error {
		_, err := c.store.Load(ctx, one.Image, images.LoadOptions{Names: []reference.Reference{name}})
		return err
	})
}

// do requests a change and writes a note before and after it.
func (c *imageClient) do(act imageAct, ask func() error) error {
	c.shelf.begin(act)
	if err := c.note(act, begun); err != nil {
		return err
	}
	if err := ask(); err != nil {
		return fmt.Errorf("%+v: %w", act, err)
	}
	c.shelf.done(act)
	return c.note(act, acknowledged)
}

// commit makes a container of an image, writes to it, and commits it while it is mounted.
func (c *imageClient) commit(ctx context.Context, from string, to reference.Reference, random *rand.Rand) error {
	image, err := c.store.Image(ctx, from)
	if err != nil {
		return err
	}
	store := c.store.Layers()
	_, err = store.CreateContainer(ctx,
		layers.ContainerOptions{Name: containerName, Image: image.Key, Layer: image.Top()})
	if err != nil {
		return err
	}
	target, err := store.MountContainer(ctx, containerName, layers.MountOptions{})
	if err != nil {
		return err
	}
	// The file is not synced: the commit must do that.
	text := strings.Repeat(fmt.Sprintln(random.Uint64()), 1+random.IntN(4000))
	if err := os.WriteFile(filepath.Join(target, "text"), []byte(text), 0o600); err != nil {
		return err
	}
	tree, err := imagetest.ReadTree(ctx, target)
	if err != nil {
		return err
	}
	err = c.do(imageAct{Op: actCommit, Name: to.Familiar(), Tree: tree.Digest()}, func() error {
		_, err := c.store.Commit(ctx, containerName, images.CommitOptions{Names: []reference.Reference{to}})
		return err
	})
	if err != nil {
		return err
	}
	_, err = store.RemoveContainer(ctx, containerName, layers.RemoveOptions{})
	return err
}

// shelfOf returns the shelf that follows from the records of images.
func shelfOf(records []record) *shelf {
	s := newShelf()
	for _, r := range records {
		if r.Image == (imageAct{}) {
			continue
		}
		switch r.State {
		case begun:
			s.begin(r.Image)
		case acknowledged:
			s.done(r.Image)
		case undone:
			s.undone()
		}
	}
	slices.Sort(s.committed)
	return s
}
