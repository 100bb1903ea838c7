package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"thinctl/internal/testkit/need"

	"golang.org/x/sys/unix"
)

var uuid = [16]byte{0xde, 0xad, 0xbe, 0xef, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

func restored(t *testing.T) string {
	t.Helper()
	need.Program(t, "thin_restore")
	return restore(t, t.TempDir(), dump{Time: 4, Transaction: 9, Version: 2, DataBlockSize: 128, DataBlocks: 100,
		Devices: []dumpDevice{{ID: 1, Ranges: []extent{{Length: 10}}}, {ID: 7, Transaction: 3}}})
}

func TestStampLeavesTheRestClean(t *testing.T) {
	path := restored(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dumped := tool(t, "thin_dump", path)
	for range 2 { // the second finds its own
		if err := WriteUUID(path, uuid); err != nil {
			t.Fatal(err)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tool(t, "thin_check", path)
	if again := tool(t, "thin_dump", path); again != dumped {
		t.Errorf("thin_dump changed:\n%s\n%s", dumped, again)
	}
	s, err := ReadSuperblockFile(path)
	if err != nil || s.UUID != uuid {
		t.Errorf("uuid %x, %v", s.UUID, err)
	}
	copy(before[:4], after)
	copy(before[offUUID:], uuid[:])
	if !bytes.Equal(before, after) {
		t.Error("more than the checksum and the uuid changed")
	}
	if err := WriteUUID(path, [16]byte{1}); !errors.Is(err, ErrOtherPool) {
		t.Errorf("another uuid: %v", err)
	}
}

// Clearing needs_check by thin_check rewrites the superblock: the uuid stays.
func TestStampOutlivesClearingNeedsCheck(t *testing.T) {
	path := restored(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(b[offFlags:], flagNeedsCheck)
	seal(b[:blockSize], superblockSalt)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteUUID(path, uuid); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadSuperblockFile(path); err != nil || !s.NeedsCheck() {
		t.Errorf("after the stamp: %+v, %v", s, err)
	}
	tool(t, "thin_check", "--clear-needs-check-flag", path)
	if s, err := ReadSuperblockFile(path); err != nil || s.NeedsCheck() || s.UUID != uuid {
		t.Errorf("after clearing: %+v, %v", s, err)
	}
}

func TestStampRefuses(t *testing.T) {
	sealed := func(at int, v uint32) []byte {
		b := newImage(nil, 3).b
		binary.LittleEndian.PutUint32(b[at:], v)
		seal(b[:blockSize], superblockSalt)
		return b
	}
	damaged := newImage(nil, 3).b
	damaged[100] ^= 1
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"empty":                   {make([]byte, 8192), ErrEmpty},
		"not metadata":            {bytes.Repeat([]byte("x"), 8192), ErrNotMetadata},
		"a wrong checksum":        {damaged, ErrChecksum},
		"a newer version":         {sealed(offVersion, 3), ErrUnsupported},
		"features to only read":   {sealed(offCompatRO, 1), ErrUnsupported},
		"another pool's":          {sealed(offUUID, 77), ErrOtherPool},
		"another block's address": {sealed(offBlock, 1), ErrCorrupt},
		"no content":              {nil, ErrTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, "meta", c.content)
			if err := WriteUUID(path, uuid); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, c.content) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
	path := writeFile(t, "meta", newImage(nil, 3).b)
	if err := WriteUUID(path, [16]byte{}); err == nil {
		t.Error("a uuid of zeros was taken")
	}
	missing := filepath.Join(t.TempDir(), "none")
	if err := WriteUUID(missing, uuid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("the missing file was made")
	}
	for _, kind := range []string{"/dev/null", t.TempDir()} {
		if err := WriteUUID(kind, uuid); err == nil {
			t.Errorf("%s was taken for metadata", kind)
		}
	}
}

// A claim such as a pool's is stood in for by O_EXCL from here.
func TestBlockDevice(t *testing.T) {
	path := restored(t)
	device := loop(t, path)
	claim, err := os.OpenFile(device, unix.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = WriteUUID(device, uuid)
	if !errors.Is(err, ErrBusy) || !errors.Is(err, unix.EBUSY) {
		t.Errorf("a claimed device: %v", err)
	}
	if s, err := ReadSuperblockFile(device); err != nil || s.UUID != [16]byte{} {
		t.Errorf("reading a claimed device: %x, %v", s.UUID, err)
	}
	if err := claim.Close(); err != nil {
		t.Fatal(err)
	}
	if err := WriteUUID(device, uuid); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadSuperblockFile(device); err != nil || s.UUID != uuid {
		t.Errorf("read back: %x, %v", s.UUID, err)
	}
	tool(t, "thin_check", device)
	m, err := Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if !m.direct {
		t.Error("the block device is not read directly")
	}
	if devices, err := read(m); err != nil || len(devices) != 2 {
		t.Errorf("devices: %v, %v", devices, err)
	}
}
