package dm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/fault"
)

// answerSize is large enough for most answers, so that one ioctl is enough.
const answerSize = 4096

// Targets implements [Kernel].
func (c *Control) Targets(context.Context) ([]TargetVersion, error) {
	r := newControlRequest(unix.DM_LIST_VERSIONS, "list", "targets", answerSize)
	if err := c.do(r); err != nil {
		return nil, err
	}
	return decodeVersions(r.answer())
}

// TargetVersion implements [Kernel].
func (c *Control) TargetVersion(ctx context.Context, target string) (Version, error) {
	missing := &Error{Op: "find", Object: "target " + target, Kind: ErrNoTarget}
	if c.version.AtLeast(4, 41) {
		r := newControlRequest(unix.DM_GET_TARGET_VERSION, "find", "target "+target, answerSize)
		copy(r.header().Name[:], target)
		if err := c.do(r); err != nil {
			if errnoOf(err) == unix.EINVAL {
				return Version{}, missing
			}
			return Version{}, err
		}
		versions, err := decodeVersions(r.answer())
		if err != nil {
			return Version{}, err
		}
		return versions[0].Version, nil
	}
	targets, err := c.Targets(ctx)
	if err != nil {
		return Version{}, err
	}
	for _, t := range targets {
		if t.Name == target {
			return t.Version, nil
		}
	}
	return Version{}, missing
}

// Create implements [Kernel].
func (c *Control) Create(_ context.Context, name Name, uuid UUID) (Info, error) {
	if _, err := NewName(string(name)); err != nil {
		return Info{}, err
	}
	if _, err := NewUUID(string(uuid)); err != nil {
		return Info{}, err
	}
	r := newRequest(unix.DM_DEV_CREATE, "create", Ref{name: name, uuid: uuid}, 0)
	if err := c.do(r); err != nil {
		return Info{}, err
	}
	return r.info(), nil
}

// Load implements [Kernel].
func (c *Control) Load(ctx context.Context, ref Ref, table []Target, options LoadOptions) error {
	if len(table) == 0 {
		return &Error{Op: "load", Object: ref.String(), Kind: fault.Invalid, Detail: "the table is empty"}
	}
	lines := make([]Line, len(table))
	for i, target := range table {
		lines[i] = target.Line()
	}
	payload := encodeTable(lines)
	r := newRequest(unix.DM_TABLE_LOAD, fmt.Sprintf("load %q into", lines[0]), ref, len(payload))
	r.header().Target_count = uint32(len(lines))
	copy(r.payload(), payload)
	if options.ReadOnly {
		r.set(unix.DM_READONLY_FLAG)
	}
	err := c.do(r)
	if err == nil {
		return c.rejectSelfReference(ctx, r.info().Dev, lines)
	}
	var failed *Error
	if !errors.As(err, &failed) {
		return err
	}
	switch errnoOf(err) {
	case unix.ENXIO, unix.EPERM:
		// Both errors may concern a device in the table instead of the device ref.
		if _, missing := c.Info(ctx, ref); missing == nil {
			failed.Kind, failed.Detail = nil, ""
		}
	case unix.EINVAL:
		for _, line := range lines {
			if _, missing := c.TargetVersion(ctx, line.Type); errors.Is(missing, ErrNoTarget) {
				return fmt.Errorf("%w (%w)", missing, err)
			}
		}
	}
	return err
}

// rejectSelfReference clears a loaded table that maps the device onto itself.
// Kernels before 5.15 accept such a table, and Resume then overflows the kernel's
// stack (drivers/md/dm-table.c, dm_table_supports_dax; observed on 5.10).
func (c *Control) rejectSelfReference(ctx context.Context, dev blockdev.Number, lines []Line) error {
	for _, line := range lines {
		if !slices.Contains(strings.Fields(line.Params), dev.String()) {
			continue
		}
		err := &Error{Op: fmt.Sprintf("load %q into", line), Object: dev.String(), Err: unix.EINVAL}
		return errors.Join(err, c.Clear(ctx, ByDev(dev)))
	}
	return nil
}

// Clear implements [Kernel].
func (c *Control) Clear(_ context.Context, ref Ref) error {
	return c.do(newRequest(unix.DM_TABLE_CLEAR, "clear", ref, 0))
}

// Suspend implements [Kernel].
func (c *Control) Suspend(ctx context.Context, ref Ref, options SuspendOptions) error {
	r := newRequest(unix.DM_DEV_SUSPEND, "suspend", ref, 0).set(unix.DM_SUSPEND_FLAG)
	if options.NoFlush {
		r.set(unix.DM_NOFLUSH_FLAG)
	}
	if options.SkipLockFS {
		r.set(unix.DM_SKIP_LOCKFS_FLAG)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("device mapper: suspend %s: %w", ref, err)
	}
	done := make(chan error, 1)
	go func() { done <- c.do(r) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	go func() {
		if <-done != nil {
			return
		}
		if _, err := c.Resume(context.WithoutCancel(ctx), ref, ResumeOptions{}); err != nil {
			c.options.Logger.Error("resume after an abandoned suspend failed", "device", ref.String(), "error", err)
		}
	}()
	return fmt.Errorf("device mapper: suspend %s: IO is still in flight: %w", ref, ctx.Err())
}

// Info implements [Kernel].
func (c *Control) Info(_ context.Context, ref Ref) (Info, error) {
	r := newRequest(unix.DM_DEV_STATUS, "read info of", ref, 0)
	if err := c.do(r); err != nil {
		return Info{}, err
	}
	return r.info(), nil
}

// Table implements [Kernel].
func (c *Control) Table(_ context.Context, ref Ref) ([]Line, error) {
	r := newRequest(unix.DM_TABLE_STATUS, "read table of", ref, answerSize).
		set(unix.DM_STATUS_TABLE_FLAG | unix.DM_NOFLUSH_FLAG)
	if err := c.do(r); err != nil {
		return nil, err
	}
	return decodeTable(r.answer(), int(r.header().Target_count))
}

// Status implements [Kernel].
func (c *Control) Status(_ context.Context, ref Ref, options StatusOptions) (Info, []Line, error) {
	r := newRequest(unix.DM_TABLE_STATUS, "read status of", ref, answerSize)
	if options.NoFlush {
		r.set(unix.DM_NOFLUSH_FLAG)
	}
	if err := c.do(r); err != nil {
		return Info{}, nil, err
	}
	lines, err := decodeTable(r.answer(), int(r.header().Target_count))
	return r.info(), lines, err
}

// Deps implements [Kernel].
func (c *Control) Deps(_ context.Context, ref Ref) ([]blockdev.Number, error) {
	r := newRequest(unix.DM_TABLE_DEPS, "read dependencies of", ref, answerSize)
	if err := c.do(r); err != nil {
		return nil, err
	}
	return decodeDeps(r.answer())
}

// List implements [Kernel]. Kernels before protocol 4.45 do not list uuids: List
// then reads the uuid of each device separately.
func (c *Control) List(ctx context.Context) ([]Entry, error) {
	r := newControlRequest(unix.DM_LIST_DEVICES, "list", "devices", 4*answerSize)
	if c.version.AtLeast(4, 45) {
		r.set(unix.DM_UUID_FLAG) // the kernel lists uuids only on request
	}
	if err := c.do(r); err != nil {
		return nil, err
	}
	entries, err := decodeList(r.answer(), c.version)
	if err != nil || c.version.AtLeast(4, 45) {
		return entries, err
	}
	kept := entries[:0]
	for _, entry := range entries {
		info, err := c.Info(ctx, ByDev(entry.Dev))
		if errors.Is(err, fault.NotFound) {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, err
		}
		entry.UUID = info.UUID
		kept = append(kept, entry)
	}
	return kept, nil
}

// Message implements [Kernel].
func (c *Control) Message(_ context.Context, ref Ref, message string) (string, error) {
	const sectorSize = 8
	size := sectorSize + len(message) + 1
	r := newRequest(unix.DM_TARGET_MSG, fmt.Sprintf("message %q to", message), ref, size+answerSize)
	copy(r.payload()[sectorSize:], message)
	if err := c.do(r); err != nil {
		return "", err
	}
	if r.header().Flags&unix.DM_DATA_OUT_FLAG == 0 {
		return "", nil
	}
	return text(r.answer()), nil
}
