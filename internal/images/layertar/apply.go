package layertar

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

	"thinctl/fault"
	"thinctl/units"
)

// ApplyOptions: the zero value has the default limits.
type ApplyOptions struct {
	Limits Limits
	// TempDir is where much of a split is kept, default os.TempDir.
	TempDir string
	// Warn receives what was accepted although it is unusual.
	Warn fault.Warn
	// Progress is told how many bytes of the reader were read so far, as they
	// came, compressed or not. It is called from another goroutine and must be
	// quick.
	Progress func(n int64)
}

// Applied is what a layer was.
type Applied struct {
	Size    units.Bytes // of the files it brought, as Docker counts: a symlink is as long as its target
	Entries int         // in the tar, whiteouts among them
	DiffID  string      // "sha256:...", of the uncompressed tar
	TarSize int64       // bytes of the uncompressed tar
	Split   Split       // what Replay needs beside the tree; to be closed
}

// Apply unpacks a layer (plain tar, gzip or zstd) over what is in root. The
// reader is read to its end and not used after Apply returns; to stop a reader
// that blocks is the caller's to do when ctx ends. After an error root holds a
// part of the layer. Nothing is synced.
func Apply(ctx context.Context, root string, r io.Reader, o ApplyOptions) (_ Applied, err error) {
	limits := o.Limits.orDefaults()
	odd := &oddities{rec: newRecorder(2*limits.Kept+limits.Split, o.TempDir), room: limits.Kept}
	split := newRecorder(limits.Split, o.TempDir)
	defer func() {
		if err != nil {
			err = errors.Join(err, Split{[]*spool{odd.rec.out, split.out}}.Close())
		}
	}()

	queue := newQueue()
	tree, err := newTree(root, queue, odd, o.Warn)
	if err != nil {
		return Applied{}, err
	}
	defer tree.close()
	group, inner := errgroup.WithContext(ctx)
	stream := newStream(r, limits, o)
	scan := &scan{
		limits: limits, ctx: inner, stream: &chunkReader{ctx: inner, s: stream},
		split: split, oddities: odd, queue: queue, warn: o.Warn,
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
	if odd.some {
		if err := odd.rec.close(); err != nil {
			return Applied{}, err
		}
		applied.Split.parts = append(applied.Split.parts, odd.rec.out)
	}
	applied.Split.parts = append(applied.Split.parts, split.out)
	return applied, nil
}
