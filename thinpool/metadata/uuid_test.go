package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"thinctl/fault"
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

func TestWriteUUIDChangesNothingElse(t *testing.T) {
	path := restored(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dumped := tool(t, "thin_dump", path)
	for range 2 { // the second call finds the uuid
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
		t.Errorf("output of thin_dump has changed: before\n%s\nafter\n%s", dumped, again)
	}
	s, err := ReadSuperblockFile(path)
	if err != nil || s.UUID != uuid {
		t.Errorf("got uuid %x, %v; want %x", s.UUID, err, uuid)
	}
	copy(before[:4], after)
	copy(before[offUUID:], uuid[:])
	if !bytes.Equal(before, after) {
		t.Error("more than the checksum and the uuid has changed")
	}
	if err := WriteUUID(path, [16]byte{1}); !errors.Is(err, ErrOtherPool) {
		t.Errorf("write another uuid: got %v, want ErrOtherPool", err)
	}
}

// thin_check writes the superblock when it clears needs_check, and keeps the uuid.
func TestUUIDAfterClearingNeedsCheck(t *testing.T) {
	path := restored(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(b[offFlags:], flagNeedsCheck)
	setChecksum(b[:blockSize], superblockSalt)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteUUID(path, uuid); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadSuperblockFile(path); err != nil || !s.NeedsCheck() {
		t.Errorf("after WriteUUID: got %+v, %v; want needs_check", s, err)
	}
	tool(t, "thin_check", "--clear-needs-check-flag", path)
	if s, err := ReadSuperblockFile(path); err != nil || s.NeedsCheck() || s.UUID != uuid {
		t.Errorf("after clearing needs_check: got %+v, %v; want uuid %x and no needs_check", s, err, uuid)
	}
}

func TestWriteUUIDErrors(t *testing.T) {
	withField := func(at int, v uint32) []byte {
		b := newImage(nil, 3).b
		binary.LittleEndian.PutUint32(b[at:], v)
		setChecksum(b[:blockSize], superblockSalt)
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
		"a newer version":         {withField(offVersion, 3), fault.Unsupported},
		"read-only features":      {withField(offCompatRO, 1), fault.Unsupported},
		"another pool's":          {withField(offUUID, 77), ErrOtherPool},
		"another block's address": {withField(offBlock, 1), ErrCorrupt},
		"no content":              {nil, ErrTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, "meta", c.content)
			if err := WriteUUID(path, uuid); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, c.content) {
				t.Errorf("the file has changed (%v)", err)
			}
		})
	}
	path := writeFile(t, "meta", newImage(nil, 3).b)
	if err := WriteUUID(path, [16]byte{}); err == nil {
		t.Error("got no error for a uuid of zeros")
	}
	missing := filepath.Join(t.TempDir(), "none")
	if err := WriteUUID(missing, uuid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: got %v, want os.ErrNotExist", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("the missing file was created")
	}
	for _, kind := range []string{"/dev/null", t.TempDir()} {
		if err := WriteUUID(kind, uuid); err == nil {
			t.Errorf("%s: got no error", kind)
		}
	}
}

// The test opens the device with O_EXCL, which claims it as an active pool does.
func TestBlockDevice(t *testing.T) {
	path := restored(t)
	device := loop(t, path)
	claim, err := os.OpenFile(device, unix.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = WriteUUID(device, uuid)
	if !errors.Is(err, fault.Busy) || !errors.Is(err, unix.EBUSY) {
		t.Errorf("write to a claimed device: got %v, want fault.Busy and EBUSY", err)
	}
	if s, err := ReadSuperblockFile(device); err != nil || s.UUID != [16]byte{} {
		t.Errorf("read of a claimed device: got uuid %x, %v; want none", s.UUID, err)
	}
	if err := claim.Close(); err != nil {
		t.Fatal(err)
	}
	if err := WriteUUID(device, uuid); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadSuperblockFile(device); err != nil || s.UUID != uuid {
		t.Errorf("got uuid %x, %v; want %x", s.UUID, err, uuid)
	}
	tool(t, "thin_check", device)
	m, err := Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if !m.direct {
		t.Error("the block device was opened without direct IO")
	}
	if devices, err := read(m); err != nil || len(devices) != 2 {
		t.Errorf("got devices %v, %v; want 2", devices, err)
	}
}
