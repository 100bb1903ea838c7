package disk_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/internal/disk"
	"thinctl/internal/testkit/need"
)

const mib = 1 << 20

func image(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// formatted runs a program such as mkfs.ext4 on a blank image.
func formatted(t *testing.T, size int64, stdin string, command ...string) string {
	t.Helper()
	path := image(t, size)
	program := exec.Command(need.Program(t, command[0]), append(command[1:], path)...)
	program.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	program.Stdin = strings.NewReader(stdin)
	if out, err := program.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	return path
}

func patched(t *testing.T, size, at int64, text string) string {
	t.Helper()
	path := image(t, size)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte(text), at); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestContents(t *testing.T) {
	for name, c := range map[string]struct {
		path func(t *testing.T) string
		want string
	}{
		"blank":           {func(t *testing.T) string { return image(t, 16*mib) }, ""},
		"blank and small": {func(t *testing.T) string { return image(t, 700) }, ""},
		"empty":           {func(t *testing.T) string { return image(t, 0) }, ""},
		"ext4":            {func(t *testing.T) string { return formatted(t, 16*mib, "", "mkfs.ext4", "-q") }, "an ext2, ext3 or ext4 file system"},
		"xfs":             {func(t *testing.T) string { return formatted(t, 320*mib, "", "mkfs.xfs", "-q") }, "an xfs file system"},
		"swap":            {func(t *testing.T) string { return formatted(t, 16*mib, "", "mkswap") }, "swap space"},
		"MBR":             {func(t *testing.T) string { return formatted(t, 16*mib, "label: dos\n,4M\n", "sfdisk", "-q") }, "a partition table or boot sector"},
		"GPT":             {func(t *testing.T) string { return formatted(t, 16*mib, "label: gpt\n,4M\n", "sfdisk", "-q") }, "a GPT partition table"},
		"LVM": {func(t *testing.T) string {
			// As pvcreate writes it: label sector, then the physical volume's header.
			return patched(t, 16*mib, 512, "LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00LVM2 001")
		}, "an LVM physical volume"},
		"thin metadata": {func(t *testing.T) string {
			return patched(t, 4*mib, 32, string(binary.LittleEndian.AppendUint64(nil, 27022010)))
		}, "thin pool metadata"},
		"LUKS":              {func(t *testing.T) string { return patched(t, 16*mib, 0, "LUKS\xba\xbe\x00\x02") }, "a LUKS container"},
		"RAID at its end":   {func(t *testing.T) string { return patched(t, 16*mib, 16*mib-4096, "\xfc\x4e\x2b\xa9") }, "unknown data at byte 16773120, near its end"},
		"one byte":          {func(t *testing.T) string { return patched(t, 16*mib, 777777, "\x01") }, "unknown data at byte 777777"},
		"a byte above 0x7f": {func(t *testing.T) string { return patched(t, 16*mib, 4097, "\xff") }, "unknown data at byte 4097"},
		"the last byte":     {func(t *testing.T) string { return patched(t, 16*mib, 16*mib-1, "\x01") }, "unknown data at byte 16777215, near its end"},
		"the middle only":   {func(t *testing.T) string { return patched(t, 16*mib, 8*mib, "\x01") }, ""},
		"small, its end":    {func(t *testing.T) string { return patched(t, 1000, 999, "\x01") }, "unknown data at byte 999"},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.path(t)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := disk.Contents(path)
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("Contents changed the file")
			}
		})
	}
	if _, err := disk.Contents(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file: got nil, want an error")
	}
}

// Wipe writes no byte outside its range.
func TestWipe(t *testing.T) {
	path := patched(t, 2*mib, 4096, "after")
	if err := os.WriteFile(path, append(bytes.Repeat([]byte{1}, 4096), "after"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := disk.Wipe(path, 0, 4096); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, append(make([]byte, 4096), "after"...)) {
		t.Errorf("wiped 4096 bytes: got %q of %d bytes, %v", bytes.Trim(got, "\x00"), len(got), err)
	}
	if err := disk.Wipe(filepath.Join(t.TempDir(), "none"), 0, 1); err == nil {
		t.Error("wipe a missing file: got nil, want an error")
	}
}

func TestDescribe(t *testing.T) {
	for _, path := range []string{image(t, mib), t.TempDir(), "/dev/null", "/nonexistent"} {
		if d, err := disk.Describe(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %+v, %v, want an error with the path", path, d, err)
		}
	}
}
