package tools

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thinctl/thinpool/metadata"
)

const xml = `<superblock uuid="" time="1" transaction="2" version="2" data_block_size="128" nr_data_blocks="100">
<device dev_id="1" mapped_blocks="10" transaction="1" creation_time="0" snap_time="1">
<range_mapping origin_begin="0" data_begin="5" length="10" time="0"/></device></superblock>`

const size = 4 << 20

func blank(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "meta")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	return path
}

func sound(t *testing.T) string {
	t.Helper()
	path, in := blank(t, size), filepath.Join(t.TempDir(), "xml")
	if err := os.WriteFile(in, []byte(xml), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("thin_restore", "-i", in, "-o", path).CombinedOutput(); err != nil {
		t.Fatalf("thin_restore: %v\n%s\nthese tests need thin-provisioning-tools", err, out)
	}
	return path
}

func patch(t *testing.T, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(b, at)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCheck(t *testing.T) {
	path := sound(t)
	before := contents(t, path)
	report, err := Check(t.Context(), path)
	if err != nil || !report.Clean() || len(report.Lines) == 0 {
		t.Errorf("sound metadata: %+v, %v", report, err)
	}
	if !bytes.Equal(before, contents(t, path)) {
		t.Error("the check changed the metadata")
	}
	s, err := metadata.ReadSuperblockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	patch(t, path, int64(s.DetailsRoot)*4096+100, []byte("damage"))
	report, err = Check(t.Context(), path)
	if !errors.Is(err, ErrDamaged) || report.Clean() || len(report.Lines) == 0 || !strings.Contains(err.Error(), path) {
		t.Errorf("damaged metadata: %+v, %v", report, err)
	}
	if report, err = Check(t.Context(), blank(t, size)); !errors.Is(err, ErrDamaged) || report.Clean() {
		t.Errorf("no metadata: %+v, %v", report, err)
	}
}

func TestRefusals(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	if report, err := Check(t.Context(), missing); !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrDamaged) || report.Clean() {
		t.Errorf("a missing file: %+v, %v", report, err)
	}
	for _, path := range []string{t.TempDir(), "/dev/null"} {
		if _, err := Check(t.Context(), path); err == nil || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", path, err)
		}
	}
	nothing := runner{dirs: []string{t.TempDir()}}
	report, err := nothing.check(t.Context(), sound(t))
	if !errors.Is(err, ErrMissing) || report.Clean() || !strings.Contains(err.Error(), "device-mapper-persistent-data") {
		t.Errorf("without the tools: %+v, %v", report, err)
	}
	if err := nothing.repair(t.Context(), sound(t), blank(t, size)); !errors.Is(err, ErrMissing) {
		t.Errorf("repair without the tools: %v", err)
	}
}

// needsCheck makes sound, stamped metadata that carries the flag.
func needsCheck(t *testing.T, uuid [16]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "meta")
	flagged := strings.Replace(xml, `time="1"`, `time="1" flags="1"`, 1)
	in := filepath.Join(t.TempDir(), "xml")
	err := errors.Join(os.WriteFile(in, []byte(flagged), 0o600), os.WriteFile(path, nil, 0o600), os.Truncate(path, size))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("thin_restore", "-i", in, "-o", path).CombinedOutput(); err != nil {
		t.Fatalf("thin_restore: %v\n%s", err, out)
	}
	if err := metadata.Stamp(path, uuid); err != nil {
		t.Fatal(err)
	}
	s, err := metadata.ReadSuperblockFile(path)
	if err != nil || !s.NeedsCheck() {
		t.Fatalf("no needs_check to begin with: %+v, %v", s, err)
	}
	return path
}

func TestClearNeedsCheck(t *testing.T) {
	uuid := [16]byte{1, 2, 3}
	path := needsCheck(t, uuid)
	if report, err := Check(t.Context(), path); err != nil || !report.Clean() {
		t.Errorf("check with the flag set: %+v, %v", report, err)
	}
	if err := ClearNeedsCheck(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	s, err := metadata.ReadSuperblockFile(path)
	if err != nil || s.NeedsCheck() || s.UUID != uuid {
		t.Errorf("after clearing: %+v, %v", s, err)
	}

	damaged := needsCheck(t, uuid)
	patch(t, damaged, int64(s.DetailsRoot)*4096+100, []byte("damage"))
	before := contents(t, damaged)
	if err := ClearNeedsCheck(t.Context(), damaged); !errors.Is(err, ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
	if !bytes.Equal(before, contents(t, damaged)) {
		t.Error("damaged metadata was changed")
	}
}

func TestRepair(t *testing.T) {
	damaged, fresh := sound(t), blank(t, size)
	s, err := metadata.ReadSuperblockFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	// The space map's bitmaps are rebuilt from the trees.
	patch(t, damaged, int64(s.MetadataSpaceMap.BitmapRoot)*4096+100, []byte("damage"))
	before := contents(t, damaged)
	if _, err := Check(t.Context(), damaged); !errors.Is(err, ErrDamaged) {
		t.Fatalf("not damaged: %v", err)
	}
	if err := Repair(t.Context(), damaged, fresh); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, contents(t, damaged)) {
		t.Error("the damaged metadata was changed")
	}
	if report, err := Check(t.Context(), fresh); err != nil {
		t.Errorf("the repaired metadata: %+v, %v", report, err)
	}
	m, err := metadata.Open(fresh)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	root, err := metadata.ReadSuperblock(m)
	if err != nil {
		t.Fatal(err)
	}
	devices, err := metadata.Devices(m, root)
	if err != nil || len(devices) != 1 || devices[0].MappedBlocks != 10 {
		t.Errorf("repaired devices: %+v, %v", devices, err)
	}
	if err := Repair(t.Context(), damaged, fresh); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("onto the repaired: %v", err)
	}
	zeroed := blank(t, size)
	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Symlink(zeroed, alias); err != nil {
		t.Fatal(err)
	}
	if err := Repair(t.Context(), zeroed, alias); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("onto itself: %v", err)
	}
	if err := Repair(t.Context(), damaged, blank(t, size-4096)); !errors.Is(err, ErrTooSmall) {
		t.Errorf("onto a smaller one: %v", err)
	}
	if err := Repair(t.Context(), blank(t, size), blank(t, size)); !errors.Is(err, ErrDamaged) {
		t.Errorf("of nothing: %v", err)
	}
}

// What the doc says of the uuid.
func TestRepairLosesTheUUID(t *testing.T) {
	path, fresh := needsCheck(t, [16]byte{9}), blank(t, size)
	if err := Repair(t.Context(), path, fresh); err != nil {
		t.Fatal(err)
	}
	s, err := metadata.ReadSuperblockFile(fresh)
	if err != nil || s.UUID != ([16]byte{}) {
		t.Errorf("uuid %x, %v", s.UUID, err)
	}
}

func TestContext(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thin_check"), []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	report, err := runner{dirs: []string{dir}}.check(ctx, sound(t))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrDamaged) || report.Clean() {
		t.Errorf("got %+v, %v", report, err)
	}
}
