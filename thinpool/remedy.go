package thinpool

import (
	"errors"
	"fmt"
	"io/fs"

	"thinctl/loopback"
	"thinctl/thinpool/store"
)

// remedy is what to do about an error of a layer below, which does not know of
// pools; "" where there is nothing to say but the error.
func (p *Pool) remedy(err error) string {
	switch {
	case errors.Is(err, loopback.ErrExhausted):
		return "`losetup --list` shows who has the loop devices: detach what nobody needs"
	case errors.Is(err, loopback.ErrNoSpace):
		return fmt.Sprintf("free some of %s's file system, or give smaller sizes", p.dir)
	case errors.Is(err, store.ErrCorrupt):
		return "restore it from a copy; the volumes themselves are not touched"
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("put back what is missing, or restore %s from a copy", p.dir)
	}
	return ""
}
