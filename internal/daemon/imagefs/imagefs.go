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

// FS is one file system that shows figures. It is used by one goroutine at a time.
type FS struct {
	// Loops are the host's loop devices.
	Loops loopback.Loops
	// Image is the path of the image, on a tmpfs where there is one.
	Image string
	// Target is where it is mounted.
	Target string

	device loopback.Device // "" until Show has found or made it
	size   units.Bytes     // of the image
}

// Show makes statfs(2) on the target report these figures.
func (f *FS) Show(ctx context.Context, size, available units.Bytes) error {
	err := f.show(ctx, size, available)
	if err != nil {
		f.device = loopback.Device{} // it is looked up again by the next call
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

// find takes over what an earlier process has mounted, or makes it.
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
	// A process that ended while it grew the file system may have grown the image only.
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

// remake makes the image and mounts it, in the place of what there was.
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
	// Clusters of 64 KiB keep the bitmaps small, no journal is needed by what is never
	// written, and meta_bg lets it grow without limit. The inodes are many enough that the
	// kubelet sees most of them free.
	err = filesystem.Format(ctx, device.Path, filesystem.FormatOptions{Type: filesystem.Ext4, Label: "thinctl-space",
		Args: []string{"-O", "^has_journal,^resize_inode,meta_bg,64bit,bigalloc", "-b", "4096", "-C", "65536", "-m", "0", "-i", "67108864"}})
	if err != nil {
		return err
	}
	// minixdf: the size is the device's, the file system's own structures included.
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

// Remove unmounts the file system and removes its image. It is no error if there is none.
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
			// A program that looks at it keeps the device until it leaves; the target is free at once.
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
	// An empty directory was made by Mount; one with files in it is left.
	if err := os.Remove(f.Target); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
