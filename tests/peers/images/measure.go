package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// The operations, in the order of a life.
const (
	load        = "load"
	create      = "create"
	mount       = "mount"
	diff        = "diff of 1 MiB"
	commit      = "commit"
	remove      = "rm"
	removeImage = "image rm"
	crowd       = "start %d at once"
)

// times are the times of one peer and one operation.
type times []time.Duration

func (t times) median() time.Duration {
	s := slices.Sorted(slices.Values(t))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

type key struct{ peer, operation string }

type results map[key]times

// plan holds the parameters of a run.
type plan struct {
	rounds int
	lives  int // of containers in each round
	crowd  int
}

func (p plan) operations() []string {
	return []string{load, create, mount, diff, commit, remove, removeImage, p.crowdName()}
}

func (p plan) crowdName() string { return fmt.Sprintf(crowd, p.crowd) }

// life is a peer while it is measured.
type life struct {
	peer
	found    results
	progress io.Writer
}

func (l life) time(operation string, do func() error) error {
	began := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %s: %w", l.name(), operation, err)
	}
	took := time.Since(began)
	k := key{l.name(), operation}
	l.found[k] = append(l.found[k], took)
	fmt.Fprintf(l.progress, "%s: %s: %s\n", l.name(), operation, took.Round(time.Millisecond))
	return nil
}

// round runs the whole life of the image once.
func (p plan) round(ctx context.Context, l life, f fixture) error {
	if err := l.time(load, func() error { return l.load(ctx, f.archive) }); err != nil {
		return err
	}
	for range p.lives {
		if err := l.container(ctx); err != nil {
			return err
		}
	}
	if p.crowd > 0 {
		if err := p.startAll(ctx, l); err != nil {
			return err
		}
	}
	return l.time(removeImage, func() error { return l.removeImage(ctx) })
}

func (l life) container(ctx context.Context) error {
	const name, image = "one", "committed:1"
	root := ""
	for _, step := range []struct {
		operation string
		timed     bool
		do        func() error
	}{
		{create, true, func() error { return l.create(ctx, name) }},
		{mount, true, func() (err error) {
			root, err = l.mount(ctx, name)
			return err
		}},
		{"change", false, func() error { return change(root) }},
		{"ready", false, func() error { return l.ready(ctx, name) }},
		{diff, true, func() error { return l.diff(ctx, name) }},
		{"unmount", false, func() error { return l.unmount(ctx, name) }},
		{commit, true, func() error { return l.commit(ctx, name, image) }},
		{"remove what was committed", false, func() error { return l.removeCommitted(ctx, image) }},
		{remove, true, func() error { return l.remove(ctx, name) }},
	} {
		if step.timed {
			if err := l.time(step.operation, step.do); err != nil {
				return err
			}
		} else if err := step.do(); err != nil {
			return fmt.Errorf("%s: %s: %w", l.name(), step.operation, err)
		}
	}
	return nil
}

// change writes 1 MiB to a file that the image does not have, and syncs it, so that no
// peer's diff or commit pays for another peer's writes.
func change(root string) error {
	file, err := os.Create(filepath.Join(root, "changed"))
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(make([]byte, 1<<20)); err != nil {
		return err
	}
	return file.Sync()
}

// startAll starts the crowd of containers, and removes it.
func (p plan) startAll(ctx context.Context, l life) error {
	name := func(i int) string { return fmt.Sprintf("crowd-%03d", i) }
	err := l.time(p.crowdName(), func() error {
		return p.each(func(i int) error {
			if err := l.create(ctx, name(i)); err != nil {
				return err
			}
			_, err := l.mount(ctx, name(i))
			return err
		})
	})
	if err != nil {
		return err
	}
	return p.each(func(i int) error {
		if err := l.unmount(ctx, name(i)); err != nil {
			return err
		}
		return l.remove(ctx, name(i))
	})
}

// each calls do for the whole crowd concurrently, and returns the first error.
func (p plan) each(do func(i int) error) error {
	var group sync.WaitGroup
	faults := make([]error, p.crowd)
	for i := range p.crowd {
		group.Go(func() { faults[i] = do(i) })
	}
	group.Wait()
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return nil
}
