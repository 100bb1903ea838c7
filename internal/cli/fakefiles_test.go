package cli

import (
	"context"
	"os"
	"path/filepath"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/internal/cli/command"
	"thinctl/internal/testkit/dmtest"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// fakeFiles are file systems in memory: their devices, mount points and holders. A mount holds the
// device of the fake kernel.
type fakeFiles struct {
	kernel    *dmtest.Kernel
	kinds     map[dm.UUID]filesystem.Type
	mounts    map[blockdev.Number][]filesystem.MountPoint
	release   map[string]func()
	foreign   map[blockdev.Number]func()
	failing   error
	grown     []string
	formatted []string
}

func newFakeFiles(kernel *dmtest.Kernel) *fakeFiles {
	return &fakeFiles{kernel: kernel, kinds: map[dm.UUID]filesystem.Type{}, mounts: map[blockdev.Number][]filesystem.MountPoint{},
		release: map[string]func(){}, foreign: map[blockdev.Number]func(){}}
}

var _ command.FileSystems = (*fakeFiles)(nil)

func (f *fakeFiles) info(node string) (dm.Info, error) {
	return f.kernel.Info(context.Background(), dm.ByName(dm.Name(filepath.Base(node))))
}

func (f *fakeFiles) Format(_ context.Context, device string, o filesystem.FormatOptions) error {
	if f.failing != nil {
		return &filesystem.Error{Op: "format", Object: device, Err: f.failing}
	}
	info, err := f.info(device)
	if err != nil {
		return err
	}
	f.kinds[info.UUID] = o.Type
	f.formatted = append(f.formatted, device)
	return f.kernel.Write(info.Dev, 0, 128*units.KiB)
}

func (f *fakeFiles) Mount(_ context.Context, device, target string, o filesystem.MountOptions) error {
	fail := func(kind error, detail string) error {
		return &filesystem.Error{Op: "mount", Object: device + " at " + target, Kind: kind, Detail: detail}
	}
	info, err := f.info(device)
	if err != nil {
		return err
	}
	kind := f.kinds[info.UUID]
	if kind == "" {
		return fail(filesystem.ErrNoFilesystem, "format it first")
	}
	if o.MakeTarget {
		err = os.MkdirAll(target, 0o700)
	} else {
		_, err = os.Stat(target)
	}
	if err != nil {
		return err
	}
	if f.release[target] != nil {
		return fail(filesystem.ErrMountPoint, "unmount it, or choose another target")
	}
	release, err := f.kernel.Hold(info.Dev)
	if err != nil {
		return err
	}
	f.release[target] = release
	f.mounts[info.Dev] = append(f.mounts[info.Dev], filesystem.MountPoint{Path: target, Type: string(kind), ReadOnly: o.ReadOnly})
	return nil
}

func (f *fakeFiles) Unmount(_ context.Context, target string, _ filesystem.UnmountOptions) error {
	for dev, mounts := range f.mounts {
		for i, mount := range mounts {
			if mount.Path == target {
				f.release[target]()
				delete(f.release, target)
				f.mounts[dev] = append(mounts[:i:i], mounts[i+1:]...)
				return nil
			}
		}
	}
	return &filesystem.Error{Op: "unmount", Object: target, Kind: filesystem.ErrNotMounted}
}

func (f *fakeFiles) Grow(_ context.Context, device, target string) error {
	if f.failing != nil {
		return &filesystem.Error{Op: "grow", Object: device + " at " + target, Err: f.failing}
	}
	f.grown = append(f.grown, target)
	return nil
}

func (f *fakeFiles) Mounts(device blockdev.Number) ([]filesystem.MountPoint, error) {
	return f.mounts[device], nil
}

func (f *fakeFiles) Sync(context.Context, string) error { return nil }

func (f *fakeFiles) NeedsRecovery(string) (bool, error) { return false, nil }

func (f *fakeFiles) Space(string) (filesystem.Space, error) { return filesystem.Space{}, nil }

func (f *fakeFiles) Inodes(string, string) (uint64, error) { return 11, nil }

func (f *fakeFiles) Slim(context.Context, string) error { return nil }

func (f *fakeFiles) Holders(_ context.Context, device blockdev.Number) ([]filesystem.Holder, error) {
	var all []filesystem.Holder
	if mounts := f.mounts[device]; len(mounts) > 0 {
		own := filesystem.Holder{Namespace: 4026531840, Own: true}
		for _, mount := range mounts {
			own.MountPoints = append(own.MountPoints, mount.Path)
		}
		all = append(all, own)
	}
	if f.foreign[device] != nil {
		all = append(all, filesystem.Holder{Namespace: 4026532000, MountPoints: []string{"/var/www"},
			Processes: []filesystem.Process{{PID: 4711, Command: "nginx", Files: []string{"/var/www/index.html"}}}})
	}
	return all, nil
}

func (f *fakeFiles) MountPoint(_ context.Context, device blockdev.Number) (string, error) {
	for _, mount := range f.mounts[device] {
		if !mount.ReadOnly {
			return mount.Path, nil
		}
	}
	return "", nil
}

// Trim frees the second block that Format wrote.
func (f *fakeFiles) Trim(_ context.Context, mountPoint string) (units.Bytes, error) {
	if f.failing != nil {
		return 0, &filesystem.Error{Op: "trim", Object: mountPoint, Err: f.failing}
	}
	for dev, mounts := range f.mounts {
		for _, mount := range mounts {
			if mount.Path == mountPoint {
				return 64 * units.KiB, f.kernel.Discard(dev, 64*units.KiB, 64*units.KiB)
			}
		}
	}
	return 0, &filesystem.Error{Op: "trim", Object: mountPoint, Kind: filesystem.ErrNotMounted}
}
