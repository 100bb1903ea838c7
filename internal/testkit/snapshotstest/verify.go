package snapshotstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/internal/layers"
	"thinctl/thinpool"
)

// WantError checks that an error matches another and that its text contains these words.
func WantError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got error %v, want %v", err, kind)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("got error %q, want %q in its text", err, word)
		}
	}
}

// InUse describes what finished operations may leave in use.
type InUse struct {
	// Active is the owner of the volumes that may be active.
	Active string
	// Containers allows mounts and mount points of containers: their names do not begin with a dot.
	Containers bool
}

// Verify checks a store and its pool, and reports all that neither a finished nor an undone operation leaves behind.
func (f *Fixture) Verify(ctx context.Context, s *layers.Store, allowed InUse) error {
	var faults []error
	report := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	found, err := s.Check(ctx)
	if err != nil {
		return err
	}
	for _, d := range found {
		report("%s: %s", d.Object, d.Detail)
	}
	checked, err := s.Pool().Check(ctx)
	if err != nil {
		return err
	}
	for _, finding := range checked.Findings {
		report("pool check: %+v", finding)
	}
	volumes, err := s.Pool().Volumes(ctx)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if v.For == "work" || v.Active && v.For != allowed.Active {
			report("volume %s is left, active: %t", v.Name, v.Active)
		}
	}
	status, err := s.Pool().Status(ctx)
	if err != nil {
		return err
	}
	if status.Tombstones != 0 {
		report("%d tombstones are left", status.Tombstones)
	}
	mayStay := func(name string) bool { return allowed.Containers && !strings.HasPrefix(name, ".") }
	entries, err := os.ReadDir(s.Pool().MountsDir())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !mayStay(entry.Name()) {
			report("directory %s is left", entry.Name())
		}
	}
	for _, target := range f.Files.Targets() {
		if !mayStay(filepath.Base(target)) {
			report("%s is still mounted", target)
		}
	}
	if violations := f.Kernel.Violations(); len(violations) != 0 {
		report("kernel: %v", violations)
	}
	return errors.Join(faults...)
}

// VerifyEmpty checks that a pool has no volumes except those whose names match the pattern of templates, and that
// only their blocks are in use.
func VerifyEmpty(ctx context.Context, pool *thinpool.Pool, templates string) error {
	usage, err := pool.Usage(ctx, thinpool.UsageOptions{})
	if err != nil {
		return err
	}
	for _, v := range usage.Volumes {
		if match, err := path.Match(templates, v.Name); !match || err != nil {
			return errors.Join(fmt.Errorf("volume %v is left", v), err)
		}
	}
	status, err := pool.Status(ctx)
	if err == nil && status.Data.Used != usage.Used {
		err = fmt.Errorf("got %s of data used in the pool's status, want %s as in the mapping trees", status.Data.Used,
			usage.Used)
	}
	return err
}
