package layertar

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive"
	cfs "github.com/containerd/continuity/fs"

	"thinctl/units"
)

// Kind is how a path differs: Docker's letters.
type Kind byte

const (
	Modified Kind = 'C'
	Added    Kind = 'A'
	Deleted  Kind = 'D'
)

// Changes tells visit each change, once, parents before what is in them, with
// paths such as "/a/b".
type Changes func(visit func(path string, kind Kind) error) error

// Written is what was written.
type Written struct {
	Size    units.Bytes // of the files, as in Applied
	Entries int
	TarSize int64 // bytes
}

// WriteOptions change what a layer has of the tree.
type WriteOptions struct {
	// Latest bounds modification times, as SOURCE_DATE_EPOCH asks for; zero: nothing
	// bounds them.
	Latest time.Time
}

// Write writes the changes as a layer: what was removed as whiteouts, the rest
// as it is in upper. The same tree and changes make the same bytes. Where a file
// that is written has other names that did not change, they are written too, as
// hard links: else applying the layer would part them. Sockets are left out.
func Write(ctx context.Context, upper string, changes Changes, w io.Writer, o WriteOptions) (Written, error) {
	return write(ctx, upper, w, o, func(c *change) error {
		if err := changes(c.visit); err != nil {
			return err
		}
		return c.otherNames()
	})
}

// WriteAll writes all of root but root's own entry, names without "./", as
// docker export does.
func WriteAll(ctx context.Context, root string, w io.Writer) (Written, error) {
	return write(ctx, root, w, WriteOptions{}, func(c *change) error {
		return filepath.WalkDir(c.root, func(full string, _ fs.DirEntry, err error) error {
			if err != nil || full == c.root {
				return err
			}
			return c.visit(full[len(c.root):], Added)
		})
	})
}

// write lets containerd's ChangeWriter write the headers, and completes them on
// their way out: it knows neither contents with holes, nor times below a
// second, nor extended attributes other than security.capability.
func write(ctx context.Context, root string, w io.Writer, o WriteOptions, produce func(*change) error) (Written, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return Written{}, err
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return Written{}, err
	}
	headers, to := io.Pipe()
	c := &change{ctx: ctx, root: root, out: archive.NewChangeWriter(to, root), names: map[string]bool{}, inodes: map[inode]uint64{}}
	produced := make(chan error, 1)
	go func() {
		err := produce(c)
		if err == nil {
			err = c.out.Close()
		}
		to.CloseWithError(err)
		produced <- err
	}()
	count := &counter{w: w}
	written, err := complete(ctx, root, headers, count, o)
	written.TarSize = count.n
	headers.CloseWithError(errStopped)
	if perr := <-produced; perr != nil && !errors.Is(perr, errStopped) {
		return Written{}, perr
	}
	return written, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

var errStopped = errors.New("stopped")

type inode struct{ dev, ino uint64 }

// change hands changes to containerd's writer.
type change struct {
	ctx    context.Context
	root   string
	out    *archive.ChangeWriter
	names  map[string]bool  // with hard links, written
	inodes map[inode]uint64 // links of a written file that were not yet met
}

func (c *change) visit(path string, kind Kind) error {
	if err := c.ctx.Err(); err != nil {
		return context.Cause(c.ctx)
	}
	if path == "/" {
		return nil // layers do not say anything of the root
	}
	if strings.HasPrefix(filepath.Base(path), whiteout) {
		return &EntryError{Entry: path, Why: wrong(ErrUnwritable, "a layer would take it for a whiteout; rename or remove it")}
	}
	if kind == Deleted {
		return in(path, c.out.HandleChange(cfs.ChangeKindDelete, path, nil, nil))
	}
	info, err := os.Lstat(filepath.Join(c.root, path))
	if err != nil {
		return in(path, err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && !info.IsDir() && st.Nlink > 1 {
		at := inode{st.Dev, st.Ino}
		if _, met := c.inodes[at]; !met {
			c.inodes[at] = st.Nlink
		}
		c.inodes[at]--
		c.names[path] = true
	}
	var how cfs.ChangeKind = cfs.ChangeKindModify
	if kind == Added {
		how = cfs.ChangeKindAdd
	}
	return in(path, c.out.HandleChange(how, path, withoutContents{info}, nil))
}

// otherNames adds the names of written files that were not among the changes.
func (c *change) otherNames() error {
	missing := false
	for _, left := range c.inodes {
		missing = missing || left > 0
	}
	if !missing {
		return nil
	}
	return filepath.WalkDir(c.root, func(full string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || c.names[full[len(c.root):]] {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Nlink < 2 || c.inodes[inode{st.Dev, st.Ino}] == 0 {
			return nil
		}
		return c.visit(full[len(c.root):], Modified)
	})
}

// withoutContents keeps the ChangeWriter from reading a file.
type withoutContents struct{ fs.FileInfo }

func (withoutContents) Size() int64 { return 0 }

// complete rewrites the ChangeWriter's headers with what it leaves out.
func complete(ctx context.Context, root string, headers io.Reader, w io.Writer, o WriteOptions) (Written, error) {
	confined, err := os.OpenRoot(root)
	if err != nil {
		return Written{}, err
	}
	defer confined.Close()
	var written Written
	in := tar.NewReader(headers)
	out := &completion{ctx: ctx, root: confined, latest: o.Latest, tar: tar.NewWriter(w), w: w, buf: make([]byte, chunkSize)}
	for {
		h, err := in.Next()
		if err == io.EOF { //nolint:errorlint // a wrapped EOF is no end
			return written, out.tar.Close()
		}
		if err != nil {
			return Written{}, err
		}
		if err := out.entry(h); err != nil {
			return Written{}, err
		}
		written.Entries++
		written.Size += units.Bytes(h.Size)
		if h.Typeflag == tar.TypeSymlink {
			written.Size += units.Bytes(len(h.Linkname))
		}
	}
}

type completion struct {
	ctx  context.Context
	root *os.Root
	tar  *tar.Writer
	w    io.Writer // what tar writes to
	buf  []byte

	latest time.Time
}

func (c *completion) entry(h *tar.Header) error {
	h.Format = tar.FormatPAX
	if strings.HasPrefix(filepath.Base(h.Name), whiteout) {
		return c.tar.WriteHeader(h)
	}
	if err := c.file(h); err != nil {
		return in(h.Name, err)
	}
	return nil
}

func (c *completion) file(h *tar.Header) error {
	name := filepath.Clean(h.Name)
	info, err := c.root.Lstat(name)
	if err != nil {
		return err
	}
	if h.ModTime = info.ModTime(); !c.latest.IsZero() && h.ModTime.After(c.latest) {
		h.ModTime = c.latest
	}
	if err := c.xattrs(h, name); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return c.tar.WriteHeader(h)
	}
	f, info, err := openPlain(c.root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	h.Size = info.Size()
	if isHuge(info) {
		return c.sparse(h, f)
	}
	if err := c.tar.WriteHeader(h); err != nil {
		return err
	}
	return copyStretch(c.ctx, c.tar, f, info, 0, h.Size, c.buf)
}

func (c *completion) xattrs(h *tar.Header, name string) error {
	found, err := xattrs(filepath.Join(c.root.Name(), name))
	if err != nil {
		return err
	}
	for k := range h.PAXRecords {
		if !strings.HasPrefix(k, xattrRecord) {
			delete(h.PAXRecords, k) // the reader's; the writer makes them anew
		}
	}
	for _, x := range found {
		if strings.Contains(x.name, "=") {
			return wrong(ErrUnwritable, "the extended attribute %q has a = in its name", x.name)
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+x.name] = x.value
	}
	return nil
}

func in(name string, err error) error {
	var named *EntryError
	if err == nil || errors.As(err, &named) || errors.Is(err, errStopped) {
		return err
	}
	return &EntryError{Entry: name, Why: err}
}

// carried are the extended attributes that belong to an image: not the host's
// labels and signatures, nor what only its administrator sees.
var carried = []string{capability, "system.posix_acl_access", "system.posix_acl_default"}

func isCarried(name string) bool {
	return strings.HasPrefix(name, "user.") || slices.Contains(carried, name)
}
