package layertar

import (
	"archive/tar"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/moby/sys/userns"

	"thinctl/fault"
)

// tree writes the entries of a layer below the root. It follows the rules of
// containerd's pkg/archive, Apply.
type tree struct {
	queue       *queue
	extras      *extras
	warn        fault.Warn
	dirs        *directories
	applied     map[string]*entry // by path, including removed entries
	emptied     map[string]bool   // directories with an opaque whiteout, by path
	directories []*entry          // in the order of the tar
	unchanged   time.Time         // the modification time that the root had

	// The entry in progress:
	present *entry
	in      *directory // where it is
	base    string     // its name in this directory
	file    *os.File   // nil unless it is a regular file
	end     int64      // of the data written
}

func newTree(root string, q *queue, o *extras, warn fault.Warn) (*tree, error) {
	opened, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	top := &directory{root: opened}
	t := &tree{
		queue: q, extras: o, warn: warn, dirs: &directories{top: top},
		applied: map[string]*entry{}, emptied: map[string]bool{},
	}
	t.dirs.replace = t.replaceParent
	info, err := opened.Stat(".")
	if err == nil {
		err = top.openHandle()
	}
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	t.unchanged = info.ModTime()
	return t, nil
}

func (t *tree) close() error {
	var err error
	if t.file != nil {
		err = t.file.Close()
	}
	return errors.Join(err, t.dirs.close())
}

// run writes all items of the queue.
func (t *tree) run(ctx context.Context) error {
	for {
		it, more, err := t.queue.next(ctx)
		if err != nil {
			return err
		}
		if it.entry == nil && more {
			err = t.write(it)
			t.queue.recycle(it)
		} else {
			err = t.finish()
		}
		if err == nil && it.entry != nil {
			t.present = it.entry
			err = t.begin(it.entry)
		}
		if err != nil {
			return &EntryError{Entry: t.present.name, Why: err}
		}
		if !more {
			return nil
		}
	}
}

// begin makes an entry, or removes the file of a whiteout.
func (t *tree) begin(e *entry) error {
	kind := e.header.Typeflag
	if (kind == tar.TypeBlock || kind == tar.TypeChar) && userns.RunningInUserNS() {
		t.warn.Add(e.name, "a device cannot be made in a user namespace; it is left out")
		return nil
	}
	parent, base := path.Split(e.clean)
	in, err := t.dirs.open(strings.TrimSuffix(parent, "/"))
	if err != nil {
		return err
	}
	t.in, t.base, t.end = in, base, 0
	if e.role == roleWhiteout {
		return t.whiteout(in, base)
	}
	e.path = path.Join(in.path, base)
	if err := t.create(e); err != nil {
		return err
	}
	t.applied[e.path] = e
	if t.file != nil {
		return nil
	}
	return t.describe(e)
}

// write writes data of a file. Zeros become holes.
func (t *tree) write(it item) error {
	if len(it.data) == pieceSize && allZero(it.data) {
		return nil
	}
	_, err := t.file.WriteAt(it.data, it.offset)
	t.end = it.offset + int64(len(it.data))
	return err
}

// finish completes the entry in progress.
func (t *tree) finish() error {
	e := t.present
	if e == nil {
		return nil
	}
	if t.file != nil {
		if err := t.finishFile(e); err != nil {
			return err
		}
	}
	if e.path == e.clean {
		return nil
	}
	for _, p := range e.parts {
		if err := t.extras.place(p.position, e.path, p.offset); err != nil {
			return err
		}
	}
	return nil
}

// replaceParent removes a file of a lower layer where an entry needs a directory. On
// overlayfs containerd and Docker unpack into a tree of the layer alone, which does not
// have this file. A file of the layer itself stays, and the entry is an error, as on
// overlayfs.
func (t *tree) replaceParent(place string, found *notDirectory) (bool, error) {
	at := place
	if t.applied[place] != nil {
		if at = found.path; found.inner || t.applied[at] != nil {
			return false, nil
		}
	}
	t.warn.Add(t.present.name, "%s is not a directory in the layers below; it becomes one", at)
	return true, t.dirs.top.root.Remove(at)
}

func (t *tree) whiteout(in *directory, base string) error {
	if base != opaque {
		hidden := base[len(whiteout):]
		return t.remove(in.root, hidden, path.Join(in.path, hidden))
	}
	if t.emptied[in.path] {
		return nil
	}
	t.emptied[in.path] = true
	return t.empty(in.root, in.path)
}

// empty removes the files of lower layers in a directory. Those of this layer stay,
// also if they came before the opaque whiteout.
func (t *tree) empty(root *os.Root, at string) error {
	names, err := namesIn(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		below := path.Join(at, name)
		if t.applied[below] == nil {
			err = t.remove(root, name, below)
		} else if info, lerr := root.Lstat(name); lerr != nil || info.IsDir() {
			err = errors.Join(lerr, within(root, name, func(sub *os.Root) error { return t.empty(sub, below) }))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// remove removes name in root, which has the path at, with everything in it. The split
// keeps contents of this layer.
func (t *tree) remove(root *os.Root, name, at string) error {
	info, err := root.Lstat(name)
	if err != nil {
		return ignoreMissing(err)
	}
	if info.IsDir() || info.Mode()&fs.ModeSymlink != 0 {
		t.dirs.stale = true
	}
	if e := t.applied[at]; e != nil && !e.gone {
		e.gone = true
		if err := t.keep(e, root, name); err != nil {
			return err
		}
	}
	if info.IsDir() {
		err := within(root, name, func(sub *os.Root) error { return t.removeAll(sub, at) })
		if err != nil {
			return err
		}
	}
	return root.Remove(name)
}

// removeAll removes everything in root, which has the path at.
func (t *tree) removeAll(root *os.Root, at string) error {
	names, err := namesIn(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := t.remove(root, name, path.Join(at, name)); err != nil {
			return err
		}
	}
	return nil
}

// within calls do with the directory name in root.
func within(root *os.Root, name string, do func(*os.Root) error) error {
	sub, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	return errors.Join(do(sub), sub.Close())
}

// keptPiece is the size of kept contents in one line of the split.
const keptPiece = 1 << 20

func (t *tree) keep(e *entry, root *os.Root, name string) error {
	if len(e.parts) == 0 || t.extras.rec == nil {
		return nil
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range e.parts {
		if err := t.extras.reserve(p.size); err != nil {
			return err
		}
		for at := int64(0); at < p.size; at += keptPiece {
			b := make([]byte, min(keptPiece, p.size-at))
			if _, err := f.ReadAt(b, p.offset+at); err != nil {
				return err
			}
			if err := t.extras.keep(p.position, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// path returns the path of the entry in progress.
func (t *tree) path() string { return path.Join(t.in.path, t.base) }

// failed returns the error of a call on the entry in progress.
func (t *tree) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: t.path(), Err: err}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
