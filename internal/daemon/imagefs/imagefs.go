package imagefs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"thinctl/loopback"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// FS is a file system that shows a size. Only one goroutine may use it at a time.
type FS struct {
	Loops  loopback.Loops // of the host
	Image  string         // the path of the image, preferably on a tmpfs
	Target string         // the mount point

	device loopback.Device // empty until Show has found or made it
	size   units.Bytes     // of the image
}

// Show makes statfs(2) on the target report these sizes.
func (f *FS) Show(ctx context.Context, size, available units.Bytes) error {
	err := f.show(ctx, size, available)
	if err != nil {
		f.device = loopback.Device{} // the next call looks it up again
		return fmt.Errorf("show the pool's space at %s: %w", f.Target, err)
	}
	return nil
}

func (f *FS) show(ctx context.Context, size, available units.Bytes) error {
	if f.device.Path == "" {
		if err := f.find(ctx, size); err != nil {
			return err
		}
	}
	if size < f.size {
		if err := f.remake(ctx, size); err != nil {
			return err
		}
	}
	if size > f.size {
		if err := f.grow(ctx, size); err != nil {
			return err
		}
	}
	return filesystem.SetAvailable(f.device.Path, f.Target, available)
}

// find takes over the file system of an earlier process, or makes one.
func (f *FS) find(ctx context.Context, size units.Bytes) error {
	info, err := os.Stat(f.Image)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	devices, err := f.Loops.Find(ctx, f.Image)
	if err != nil {
		return err
	}
	if info == nil || len(devices) != 1 || !mountedAt(devices[0], f.Target) {
		return f.remake(ctx, size)
	}
	f.device = devices[0]
	// A process that was killed while it grew the file system may have grown only the image.
	total, err := filesystem.Total(f.Target)
	if err != nil {
		return err
	}
	f.size = min(units.Bytes(info.Size()), total)
	return nil
}

// mountedAt reports whether the device is mounted at the target, and there only.
func mountedAt(d loopback.Device, target string) bool {
	points, err := filesystem.Mounts(d.Number)
	return err == nil && len(points) == 1 && points[0].Path == target
}

// remake removes the image, if there is one, and makes and mounts a new one.
func (f *FS) remake(ctx context.Context, size units.Bytes) (err error) {
	if err := f.Remove(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.Image), 0o700); err != nil {
		return err
	}
	if err := loopback.CreateSparse(f.Image, size, loopback.FileOptions{}); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Remove(context.WithoutCancel(ctx)))
		}
	}()
	device, err := f.Loops.Attach(ctx, f.Image, loopback.AttachOptions{Buffered: true})
	if err != nil {
		return err
	}
	// Clusters of 64 KiB keep the bitmaps small. A file system that is never written needs
	// no journal. meta_bg allows growth without a limit. With this number of inodes most
	// are free, which the kubelet checks, too.
	err = filesystem.Format(ctx, device.Path, filesystem.FormatOptions{Type: filesystem.Ext4, Label: "thinctl-space",
		Args: []string{
			"-O", "^has_journal,^resize_inode,meta_bg,64bit,bigalloc", "-b", "4096", "-C", "65536", "-m", "0", "-i", "67108864",
		}})
	if err != nil {
		return err
	}
	// With minixdf, statfs reports the size of the whole device.
	err = filesystem.Mount(ctx, device.Path, f.Target, filesystem.MountOptions{Type: filesystem.Ext4, ReadOnly: true,
		MakeTarget: true, Options: []string{"minixdf", "nosuid", "nodev", "noexec"}})
	if err != nil {
		return err
	}
	f.device, f.size = device, size
	return nil
}

// grow makes the image and its file system larger while it is mounted.
func (f *FS) grow(ctx context.Context, size units.Bytes) (err error) {
	if err := loopback.Grow(f.Image, size, loopback.FileOptions{}); err != nil {
		return err
	}
	if _, err := f.Loops.Refresh(ctx, f.device); err != nil {
		return err
	}
	if err := filesystem.Remount(ctx, f.Target, false); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, filesystem.Remount(context.WithoutCancel(ctx), f.Target, true)) }()
	if err := filesystem.Grow(ctx, f.device.Path, f.Target); err != nil {
		return err
	}
	f.size = size
	return nil
}

// Remove unmounts the file system and removes its image, if there is one.
func (f *FS) Remove(ctx context.Context) error {
	f.device = loopback.Device{}
	devices, err := f.Loops.Find(ctx, f.Image)
	if err != nil {
		return err
	}
	for _, d := range devices {
		points, err := filesystem.Mounts(d.Number)
		if err != nil {
			return err
		}
		for _, p := range points {
			// A program that has the directory open keeps the device, but not the target.
			if err := filesystem.Unmount(ctx, p.Path, filesystem.UnmountOptions{Lazy: true}); err != nil {
				return err
			}
		}
		if err := f.Loops.Detach(ctx, d); err != nil {
			return err
		}
	}
	if err := os.Remove(f.Image); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Mount has made the directory. One with files in it stays.
	if err := os.Remove(f.Target); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
