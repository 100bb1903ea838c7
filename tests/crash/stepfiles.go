package crash

import (
	"context"

	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
)

// StepFiles calls take for each change of file systems, which performs the change or not,
// as thinpooltest.Steps does for the host.
func StepFiles(files snapshots.Files, take func(name string, do func() error) error) snapshots.Files {
	return stepFiles{files, take}
}

type stepFiles struct {
	snapshots.Files
	take func(name string, do func() error) error
}

func (f stepFiles) Format(ctx context.Context, device string, o filesystem.FormatOptions) error {
	return f.take("format "+device, func() error { return f.Files.Format(ctx, device, o) })
}

func (f stepFiles) Mount(ctx context.Context, device, target string, o filesystem.MountOptions) error {
	return f.take("mount "+device, func() error { return f.Files.Mount(ctx, device, target, o) })
}

func (f stepFiles) Unmount(ctx context.Context, target string, o filesystem.UnmountOptions) error {
	return f.take("unmount "+target, func() error { return f.Files.Unmount(ctx, target, o) })
}

func (f stepFiles) Grow(ctx context.Context, device, target string) error {
	return f.take("grow "+target, func() error { return f.Files.Grow(ctx, device, target) })
}

func (f stepFiles) Sync(ctx context.Context, target string) error {
	return f.take("sync "+target, func() error { return f.Files.Sync(ctx, target) })
}
