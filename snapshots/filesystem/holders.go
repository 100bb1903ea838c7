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
	Namespace   uint64   // the number that lsns(8) prints; 0 if /proc does not have it
	Own         bool     // it is the caller's namespace
	MountPoints []string // of the device in this namespace
	// Processes are the processes that keep the device in use. In the caller's
	// namespace they are those that have the device or files on it open. In another
	// namespace they are all its processes, as the mount ends with the last of them.
	Processes []Process
}

// Process is a process that keeps a device in use, by its files or by its namespace.
type Process struct {
	PID     int
	Command string   // the name in /proc/PID/comm
	Device  bool     // the device itself is open
	Files   []string // open files, current directory and root on the file system
}

func (h Holder) String() string {
	var users []string
	for _, p := range h.Processes {
		users = append(users, fmt.Sprintf("%s (pid %d)", p.Command, p.PID))
	}
	text := fmt.Sprintf("mount namespace %d", h.Namespace)
	if h.MountPoints != nil {
		text += ", mounted at " + strings.Join(h.MountPoints, ", ")
	}
	if users != nil {
		text += ", used by " + strings.Join(users, ", ")
	}
	return text
}

// Proc is a mounted proc file system. The zero value is that of this system.
type Proc struct {
	Root string // default "/proc"
}

// Holders returns the mount namespaces in which the device is mounted or open, the
// caller's first. If some processes cannot be examined it returns ErrIncomplete
// and the holders found.
func Holders(ctx context.Context, device blockdev.Number) ([]Holder, error) {
	return Proc{}.Holders(ctx, device)
}

// Holders is like the function of that name, for this /proc.
func (p Proc) Holders(ctx context.Context, device blockdev.Number) ([]Holder, error) {
	if p.Root == "" {
		p.Root = "/proc"
	}
	ctx, cancel := bound(ctx, kernelBound)
	defer cancel()
	s := &scan{ctx: ctx, root: p.Root, device: device,
		mounts: map[view][]string{}, holders: map[uint64]*Holder{}}
	// The stat of a file on a network mount without a server blocks.
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

// view is the key of a mountinfo file, which shows the mounts below a root.
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
		return &Error{Kind: ErrIncomplete,
			Detail: fmt.Sprintf("%d processes cannot be examined without root and all of their capabilities", s.denied)}
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

// tolerate ignores the errors of processes that end in the meantime (the mountinfo
// of a zombie is EINVAL, fs/proc_namespace.c) and of paths longer than a page
// (fs/proc/base.c, do_proc_readlink). It counts processes without permission.
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
