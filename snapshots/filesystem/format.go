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

// MinXFS is the smallest size that mkfs.xfs accepts, since xfsprogs 5.19.
const MinXFS = 300 * units.MiB

// FormatOptions are the options of Format. The zero value makes an xfs without a
// label, or an ext4 if the device is too small for xfs or mkfs.xfs is not installed.
type FormatOptions struct {
	Type  Type
	UUID  UUID // the zero value: a random one
	Label string
	// Args are further arguments of mkfs. They override those of this package.
	Args []string
	// Force overwrites a device that is not empty.
	Force bool
}

// Format makes a file system on device. It fails if the device holds a signature,
// unless Force is set.
func Format(ctx context.Context, device string, o FormatOptions) error {
	return in("format", device, programs{}.format(ctx, device, o))
}

// programs finds the programs for file systems in dirs, by default in the usual
// directories.
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
			e := &Error{Kind: fault.Refused, Err: err,
				Detail: fmt.Sprintf("%s needs at least %s, and the device has %s", o.Type, least, size),
				Remedy: fmt.Sprintf("use a volume of at least %s", least.Exact())}
			if o.Type == XFS && size >= smallest(Ext4) {
				e.Remedy += ", or ext4"
			}
			return e
		}
		return &Error{Err: err, Detail: "the device may hold a part of a file system: format it again with force"}
	}
	return nil
}

// smallest returns the size below which mkfs may fail.
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
		// -F prevents questions. mke2fs still rejects a device that is in use.
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
	blank := func(c rune) bool { return c <= ' ' || c == 0x7f }
	if strings.HasPrefix(o.Label, "-") || strings.ContainsFunc(o.Label, blank) {
		faults = append(faults, fmt.Sprintf("label %q begins with - or contains blanks", o.Label))
	}
	if faults != nil {
		return invalid(strings.Join(faults, "; "))
	}
	return nil
}

// emptyDevice returns the size of a device that no other user claims and that is
// empty. It releases its own claim, as mkfs takes one itself.
func emptyDevice(device string, force bool) (units.Bytes, error) {
	f, err := openDevice(device, unix.O_EXCL)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("find the size: %w", err)
	}
	name, err := disk.Signature(f, size)
	switch {
	case err != nil:
		return 0, fmt.Errorf("look for a signature: %w", err)
	case name != "" && !force:
		return 0, &Error{Kind: ErrSignature, Detail: "the device holds " + name + "; force overwrites it"}
	}
	return units.Bytes(size), nil
}
