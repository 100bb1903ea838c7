package filesystem

import (
	"io"
	"strings"

	"thinctl/blockdev"

	"github.com/moby/sys/mountinfo"
)

// MountPoint is a place where a device is mounted.
type MountPoint struct {
	Path     string // as seen by the processes of the namespace
	Root     string // the directory of the file system that is mounted, mostly "/"
	Type     string
	Source   string
	ReadOnly bool
	Options  []string // of the mount, then of the file system
}

// Mounts returns the mount points of the device in the mount namespace of this
// process, the oldest first.
func Mounts(device blockdev.Number) ([]MountPoint, error) {
	infos, err := mountinfo.GetMounts(ofDevice(device))
	if err != nil {
		return nil, in("list mounts of", device.String(), err)
	}
	return points(infos), nil
}

// readMounts reads a mountinfo file.
func readMounts(r io.Reader, device blockdev.Number) ([]MountPoint, error) {
	infos, err := mountinfo.GetMountsFromReader(r, ofDevice(device))
	return points(infos), err
}

func ofDevice(device blockdev.Number) mountinfo.FilterFunc {
	return func(i *mountinfo.Info) (skip, stop bool) {
		return i.Major != int(device.Major) || i.Minor != int(device.Minor), false
	}
}

func points(infos []*mountinfo.Info) []MountPoint {
	var all []MountPoint
	for _, i := range infos {
		options := append(strings.Split(i.Options, ","), strings.Split(i.VFSOptions, ",")...)
		p := MountPoint{Path: i.Mountpoint, Root: i.Root, Type: i.FSType, Source: i.Source, Options: options}
		for _, o := range options {
			p.ReadOnly = p.ReadOnly || o == "ro"
		}
		all = append(all, p)
	}
	return all
}
