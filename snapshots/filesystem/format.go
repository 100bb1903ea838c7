package filesystem

import (
	"context"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/disk"
	"thinctl/snapshots/filesystem/program"
	"thinctl/units"
)

// MinXFS is what mkfs.xfs refuses to go below since xfsprogs 5.19.
const MinXFS = 300 * units.MiB

// FormatOptions changes what is made. The zero value is xfs without a label,
// or ext4 where the device is too small for xfs or mkfs.xfs is not installed.
type FormatOptions struct {
	Type  Type
	UUID  UUID // zeros: a random one
	Label string
	// Args are put before the device, after thinctl's own, which they override.
	Args []string
	// Force overwrites a device that holds something.
	Force bool
}

// Format makes a file system on device, and nothing where the device holds a
// signature, unless forced.
func Format(ctx context.Context, device string, o FormatOptions) error {
	return in("format", device, programs{}.format(ctx, device, o))
}

// programs is where mkfs and its like are looked for; none means the usual
// folders.
type programs struct{ dirs []string }

func (p programs) format(ctx context.Context, device string, o FormatOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	size, err := emptyDevice(device, o.Force)
	if err != nil {
		return err
	}
	if o.Type == "" {
		o.Type = p.defaultType(size)
	}
	path, err := mkfs(o.Type).Find(p.dirs)
	if err != nil {
		return err
	}
	ctx, cancel := bound(ctx, programBound)
	defer cancel()
	if _, err := program.Run(ctx, path, append(o.arguments(), device)...); err != nil {
		if least := smallest(o.Type); size < least {
			e := &Error{Kind: fault.Refused, Err: err, Detail: fmt.Sprintf("%s needs at least %s, the volume has %s", o.Type, least, size),
				Remedy: fmt.Sprintf("use a larger volume with --size %s or more", least.Exact())}
			if o.Type == XFS && size >= smallest(Ext4) {
				e.Remedy += ", or --fs ext4"
			}
			return e
		}
		return &Error{Err: err, Detail: "the device may hold half a file system: format it again with force"}
	}
	return nil
}

// smallest returns the size below which mkfs may refuse.
func smallest(t Type) units.Bytes {
	if t == XFS {
		return MinXFS
	}
	return 2 * units.MiB
}

func (p programs) defaultType(size units.Bytes) Type {
	if size < MinXFS {
		return Ext4
	}
	if _, err := mkfs(XFS).Find(p.dirs); err != nil {
		return Ext4
	}
	return XFS
}

func mkfs(t Type) program.Program {
	if t == XFS {
		return program.Program{Name: "mkfs.xfs", Packages: "xfsprogs"}
	}
	return program.Program{Name: "mkfs.ext4", Packages: "e2fsprogs"}
}

func (o FormatOptions) arguments() []string {
	var args []string
	id := o.UUID.String()
	switch o.Type {
	case Ext4:
		// -F keeps mke2fs from asking; in use it is refused all the same.
		args = []string{"-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"}
		if !o.UUID.IsZero() {
			args = append(args, "-U", id)
		}
	case XFS:
		args = []string{"-q", "-K"}
		if o.Force {
			args = append(args, "-f")
		}
		if !o.UUID.IsZero() {
			args = append(args, "-m", "uuid="+id)
		}
	}
	if o.Label != "" {
		args = append(args, "-L", o.Label)
	}
	return append(args, o.Args...)
}

func (o FormatOptions) validate() error {
	longest := 12 // XFSLABEL_MAX; EXT2_LABEL_LEN is 16
	var faults []string
	switch o.Type {
	case Ext4:
		longest = 16
	case XFS, "":
	default:
		faults = append(faults, fmt.Sprintf("type %q is neither ext4 nor xfs", o.Type))
	}
	if len(o.Label) > longest {
		faults = append(faults, fmt.Sprintf("label %q is longer than %d bytes", o.Label, longest))
	}
	if strings.HasPrefix(o.Label, "-") || strings.ContainsFunc(o.Label, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		faults = append(faults, fmt.Sprintf("label %q begins with - or has blanks", o.Label))
	}
	if faults != nil {
		return invalid(strings.Join(faults, "; "))
	}
	return nil
}

// emptyDevice returns the device's size, once nobody claims it and it holds
// nothing. The claim is not kept: mkfs takes its own.
func emptyDevice(device string, force bool) (units.Bytes, error) {
	f, err := openDevice(device, unix.O_EXCL)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("finding its size: %w", err)
	}
	name, err := disk.Signature(f, size)
	switch {
	case err != nil:
		return 0, fmt.Errorf("looking for a signature: %w", err)
	case name != "" && !force:
		return 0, &Error{Kind: ErrSignature, Detail: "it holds " + name + "; force overwrites it"}
	}
	return units.Bytes(size), nil
}
