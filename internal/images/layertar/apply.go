package layertar

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

	"thinctl/fault"
	"thinctl/units"
)

// ApplyOptions are the options of Apply.
type ApplyOptions struct {
	Limits Limits
	// NoSplit leaves out the split, for a layer that is never written again.
	NoSplit bool
	// TempDir is the directory for a split that is too large for memory, by default
	// os.TempDir.
	TempDir string
	// Warn receives warnings of unusual properties that were accepted.
	Warn fault.Warn
	// Progress receives the number of bytes read so far, compressed or not. It is
	// called from another goroutine and must return fast.
	Progress func(n int64)
}

// Applied describes a layer that was applied.
type Applied struct {
	Size    units.Bytes // of its files, as Docker counts: the size of a symbolic link is that of its target
	Entries int         // in the tar, including whiteouts
	DiffID  string      // "sha256:...", of the uncompressed tar
	TarSize int64       // bytes of the uncompressed tar
	Split   Split       // for Replay; the caller closes it. It is empty with NoSplit
}

// Apply unpacks a layer (a tar, plain or compressed) over the tree in root. It reads
// the reader to its end and does not use it after it returns. If ctx ends while the
// reader blocks, the caller must stop the reader. After an error root has a part of the
// layer. Nothing is synced.
func Apply(ctx context.Context, root string, r io.Reader, o ApplyOptions) (_ Applied, err error) {
	limits := o.Limits.orDefaults()
	extra := &extras{limit: limits.Kept}
	var split *recorder
	var spools Split
	if !o.NoSplit {
		extra.rec, split = newRecorder(2*limits.Kept+limits.Split, o.TempDir), newRecorder(limits.Split, o.TempDir)
		spools.parts = []*spool{extra.rec.out, split.out}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, spools.Close())
		}
	}()

	queue := newQueue()
	tree, err := newTree(root, queue, extra, o.Warn)
	if err != nil {
		return Applied{}, err
	}
	defer tree.close()
	group, inner := errgroup.WithContext(ctx)
	stream := newStream(r, limits, o)
	scan := &scan{
		limits: limits, ctx: inner, stream: &chunkReader{ctx: inner, s: stream},
		split: split, extras: extra, queue: queue, warn: o.Warn,
		plinks: plinks{files: map[string]plink{}, store: &spool{dir: o.TempDir}},
	}
	defer scan.plinks.store.Close()
	var applied Applied
	group.Go(func() error { return stream.run(inner) })
	group.Go(func() (err error) { applied.DiffID, applied.TarSize, err = stream.sum(inner); return err })
	group.Go(scan.run)
	group.Go(func() error { return tree.run(inner) })
	if err := group.Wait(); err != nil {
		if ctx.Err() != nil {
			return Applied{}, context.Cause(ctx)
		}
		return Applied{}, err
	}
	if err := tree.setDirectoryTimes(); err != nil {
		return Applied{}, err
	}
	if err := tree.setRoot(scan.root); err != nil {
		return Applied{}, &EntryError{Entry: "./", Why: err}
	}
	applied.Size, applied.Entries = scan.size, scan.entries
	if extra.used {
		if err := extra.rec.close(); err != nil {
			return Applied{}, err
		}
		applied.Split = spools
	} else if split != nil {
		applied.Split.parts = spools.parts[1:]
	}
	return applied, nil
}
