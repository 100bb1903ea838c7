package filesystem

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

// Space is the size and the free space of a mounted file system.
type Space struct {
	Size, Free         units.Bytes
	Inodes, FreeInodes uint64
	Block              units.Bytes
}

// SpaceAt returns the space of the file system that is mounted at target.
func SpaceAt(target string) (Space, error) {
	st, err := statfs(target)
	if err != nil {
		return Space{}, in("measure", target, err)
	}
	block := units.Bytes(st.Frsize)
	return Space{
		Size: units.Bytes(st.Blocks) * block, Free: units.Bytes(st.Bavail) * block,
		Inodes: st.Files, FreeInodes: min(st.Ffree, st.Files), Block: block,
	}, nil
}

func statfs(target string) (unix.Statfs_t, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(target, &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return st, fmt.Errorf("statfs: %w", err)
		}
		return st, nil
	}
}
