package snapshots

import (
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/internal/names"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// Local is the namespace of the snapshots that no containerd sees. A containerd cannot
// have it, because its names begin with a letter or a digit.
const Local = "."

// Options are the options of a snapshotter.
type Options struct {
	// Namespace keeps the snapshots of one containerd apart; "" is "default". [Local]
	// is the namespace of the layers and containers of the command line.
	Namespace string
	// FS is the file system of snapshots without a parent; "" is ext4.
	FS filesystem.Type
	// Size is the size of volumes of snapshots without a parent; the pool's base size
	// if zero.
	Size units.Bytes
	// FormatArgs are further arguments of mkfs.
	FormatArgs []string
	// Exclusive returns what the last scan of the pool found about a volume, if there
	// was one. Each Usage calls it; it must be quick.
	Exclusive func(volume string) (Scanned, bool)
	// Log receives failures after an answer was sent; nil is slog.Default.
	Log *slog.Logger
	// Now is the clock of records; nil is time.Now.
	Now func() time.Time
}

// Scanned is what a scan found about one volume.
type Scanned struct {
	Exclusive units.Bytes // blocks that no other volume maps
	Mapped    units.Bytes // all its blocks at the same moment
}

// Snapshotter is containerd's snapshotter for one namespace of a pool. Its whole state
// is in the pool's database. Methods are safe for concurrent use.
type Snapshotter struct {
	pool    *thinpool.Pool
	files   Files
	options Options

	cached struct {
		sync.Mutex
		templates map[string]origin // by file system and size
		targets   map[string]string // where a volume was last seen mounted
	}
	reaper reaper
}

// New returns the snapshotter of a namespace. It changes nothing.
func New(pool *thinpool.Pool, files Files, o Options) (*Snapshotter, error) {
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if o.FS == "" {
		o.FS = filesystem.Ext4
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if err := checkOptions(o); err != nil {
		return nil, err
	}
	s := &Snapshotter{pool: pool, files: files, options: o}
	s.cached.templates, s.cached.targets = map[string]origin{}, map[string]string{}
	s.reaper.begin()
	return s, nil
}

func checkOptions(o Options) error {
	bad := func(detail string) error {
		return &Error{
			Op:     "open",
			Object: "namespace " + quoted(o.Namespace),
			Kind:   fault.Invalid,
			Detail: detail,
		}
	}
	if o.FS != filesystem.Ext4 && o.FS != filesystem.XFS {
		return bad("file system " + quoted(string(o.FS)) + " is neither ext4 nor xfs")
	}
	if o.Namespace == Local {
		return nil
	}
	if err := names.Namespace.Check(o.Namespace); err != nil {
		return bad(err.Error())
	}
	return nil
}

var (
	_ core.Snapshotter = (*Snapshotter)(nil)
	_ core.Cleaner     = (*Snapshotter)(nil)
)

// Pool returns the pool that the snapshots are in.
func (s *Snapshotter) Pool() *thinpool.Pool { return s.pool }

// Namespace returns the name of the namespace.
func (s *Snapshotter) Namespace() string { return s.options.Namespace }

// Close stops the work in the background. Snapshots and their devices stay. A second
// Close does nothing.
func (s *Snapshotter) Close() error {
	s.reaper.end()
	return nil
}

// MountsDir returns the pool's directory of mounts, in the form in which the kernel lists
// mount points.
func (s *Snapshotter) MountsDir() string { return ResolvedPath(s.pool.MountsDir()) }

// ResolvedPath returns a path in the form in which the kernel lists mount points. The
// last element need not exist.
func ResolvedPath(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return path
	}
	return filepath.Join(dir, filepath.Base(path))
}

func (s *Snapshotter) now() time.Time {
	if s.options.Now != nil {
		return s.options.Now().UTC()
	}
	return time.Now().UTC()
}

func gone(err error) bool { return errors.Is(err, thinpool.ErrNoVolume) }
