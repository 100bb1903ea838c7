package filesystem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"thinctl/blockdev"
	"thinctl/internal/errno"

	"golang.org/x/sys/unix"
)

// Holder is a mount namespace that keeps a device in use.
type Holder struct {
	Namespace   uint64   // its number, as lsns(8) prints it; 0 where /proc did not tell
	Own         bool     // it is the caller's
	MountPoints []string // where the device is mounted in it
	// Processes are those that keep it so: in the caller's namespace those that
	// have the device or files on it open, in others every one, since the mount
	// goes only with the last of them.
	Processes []Process
}

// Process is one that holds a device, by its files or by its namespace alone.
type Process struct {
	PID     int
	Command string   // the kernel's short name of it
	Device  bool     // it has the device itself open
	Files   []string // what it uses of the file system: open files, cwd, root
}

func (h Holder) String() string {
	var who []string
	for _, p := range h.Processes {
		who = append(who, fmt.Sprintf("%s (pid %d)", p.Command, p.PID))
	}
	text := fmt.Sprintf("mount namespace %d", h.Namespace)
	if h.MountPoints != nil {
		text += ", mounted at " + strings.Join(h.MountPoints, ", ")
	}
	if who != nil {
		text += ", used by " + strings.Join(who, ", ")
	}
	return text
}

// Proc is a /proc to look into; the zero value is this system's.
type Proc struct {
	Root string // "" is /proc
}

// Holders returns every mount namespace in which the device is mounted or has
// been opened, the caller's first. Where it may not look into some processes,
// ErrIncomplete comes with what it found.
func Holders(ctx context.Context, device blockdev.Number) ([]Holder, error) {
	return Proc{}.Holders(ctx, device)
}

// Holders is the function of that name, for this /proc.
func (p Proc) Holders(ctx context.Context, device blockdev.Number) ([]Holder, error) {
	if p.Root == "" {
		p.Root = "/proc"
	}
	ctx, cancel := bound(ctx, kernelBound)
	defer cancel()
	s := &scan{ctx: ctx, root: p.Root, device: device,
		mounts: map[view][]string{}, holders: map[uint64]*Holder{}}
	// A file on a dead network mount holds up whoever looks at it.
	err := call(ctx, s.run, nil)
	var found []Holder
	if err == nil || errors.Is(err, ErrIncomplete) {
		found = s.found()
	}
	return found, in("find holders of", device.String(), err)
}

// scan is one pass over /proc.
type scan struct {
	ctx     context.Context
	root    string
	device  blockdev.Number
	own     uint64
	mounts  map[view][]string // a namespace's mount points, read once
	holders map[uint64]*Holder
	denied  int
}

// view is what a mountinfo depends on: it shows what is below the root.
type view struct {
	namespace uint64
	root      string
}

func (s *scan) run() error {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return err
	}
	if s.own, err = s.ownNamespace(); err != nil {
		return err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		if err := s.process(pid); err != nil {
			return err
		}
	}
	if s.denied > 0 {
		return &Error{Kind: ErrIncomplete, Detail: fmt.Sprintf("%d processes may not be looked into; it takes root with every capability that they have", s.denied)}
	}
	return nil
}

func (s *scan) ownNamespace() (uint64, error) {
	for _, self := range []string{"thread-self", "self"} { // 3.10 has only the second
		n, err := namespace(filepath.Join(s.root, self, "ns/mnt"))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return n, err
		}
	}
	return 0, nil
}

func (s *scan) process(pid int) error {
	dir := filepath.Join(s.root, strconv.Itoa(pid))
	ns, err := namespace(filepath.Join(dir, "ns/mnt"))
	if err != nil {
		return s.tolerate(err)
	}
	points, err := s.mountPoints(dir, ns)
	if err != nil {
		return s.tolerate(err)
	}
	p := Process{PID: pid}
	if err := s.files(dir, &p); err != nil {
		return s.tolerate(err)
	}
	uses := p.Device || p.Files != nil
	if points == nil && !uses {
		return nil
	}
	h := s.holders[ns]
	if h == nil {
		h = &Holder{Namespace: ns, Own: ns == s.own && ns != 0}
		s.holders[ns] = h
	}
	for _, point := range points {
		if !slices.Contains(h.MountPoints, point) {
			h.MountPoints = append(h.MountPoints, point)
		}
	}
	if uses || !h.Own {
		p.Command = command(dir)
		h.Processes = append(h.Processes, p)
	}
	return nil
}

// tolerate passes over processes that end while they are looked at (a zombie's
// mountinfo is EINVAL, fs/proc_namespace.c), over files whose path is longer than a
// page (fs/proc/base.c, do_proc_readlink), and counts those out of reach.
func (s *scan) tolerate(err error) error {
	switch {
	case errno.Is(err, unix.ENOENT, unix.ESRCH, unix.EINVAL, unix.ENAMETOOLONG):
		return nil
	case errno.Is(err, unix.EACCES, unix.EPERM):
		s.denied++
		return nil
	}
	return err
}

func (s *scan) found() []Holder {
	var all []Holder
	for _, h := range s.holders {
		slices.SortFunc(h.Processes, func(a, b Process) int { return a.PID - b.PID })
		all = append(all, *h)
	}
	slices.SortFunc(all, func(a, b Holder) int {
		switch {
		case a.Own != b.Own && a.Own, a.Own == b.Own && a.Namespace < b.Namespace:
			return -1
		}
		return 1
	})
	return all
}
