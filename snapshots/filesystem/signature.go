package filesystem

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// signature is where a kind of content is known by.
type signature struct {
	name   string
	offset int64 // below zero: from the device's end
	magic  string
}

// signatures are those of file systems, volume managers and partition tables
// that a device of thinctl's may be mistaken for; after util-linux' libblkid,
// which knows more. mkfs.xfs asks libblkid itself.
func signatures() []signature {
	return []signature{
		{"ext2, ext3 or ext4", ext4At + 56, "\x53\xef"},
		{"xfs", 0, xfsMagic},
		{"btrfs", 65536 + 64, "_BHRfS_M"},
		{"f2fs", 1024, "\x10\x20\xf5\xf2"},
		{"squashfs", 0, "hsqs"},
		{"erofs", 1024, "\xe2\xe1\xf5\xe0"},
		{"reiserfs", 65536 + 52, "ReIsEr"},
		{"jfs", 32768, "JFS1"},
		{"iso9660", 32769, "CD001"},
		{"ntfs", 3, "NTFS    "},
		{"exfat", 3, "EXFAT   "},
		{"swap", 4086, "SWAPSPACE2"},
		{"swap", 4086, "SWAP-SPACE"},
		{"swap", 65526, "SWAPSPACE2"},
		{"LVM physical volume", 0, "LABELONE"},
		{"LVM physical volume", 512, "LABELONE"},
		{"LVM physical volume", 1024, "LABELONE"},
		{"LVM physical volume", 1536, "LABELONE"},
		{"LUKS", 0, "LUKS\xba\xbe"},
		{"md RAID member", 0, "\xfc\x4e\x2b\xa9"},
		{"md RAID member", 4096, "\xfc\x4e\x2b\xa9"},
		{"thin pool metadata", 32, "\xba\x52\x9c\x01\x00\x00\x00\x00"},
		{"dm-cache metadata", 32, "\x33\xb7\x5d\x00\x00\x00\x00\x00"},
		{"bcache", 4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
		{"bluestore", 0, "bluestore block device"},
		{"GPT partition table", 512, "EFI PART"},
		{"GPT partition table", 4096, "EFI PART"},
		{"GPT partition table (backup)", -512, "EFI PART"},
		{"GPT partition table (backup)", -4096, "EFI PART"},
		{"partition table or boot sector", 510, "\x55\xaa"},
	}
}

// find names the first signature on a device of size bytes, "" for none.
func find(r io.ReaderAt, size int64) (string, error) {
	for _, s := range signatures() {
		at := s.offset
		if at < 0 {
			at += size
		}
		if at < 0 || at+int64(len(s.magic)) > size {
			continue
		}
		b := make([]byte, len(s.magic))
		if _, err := r.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading at byte %d: %w", at, err)
		}
		if bytes.Equal(b, []byte(s.magic)) {
			return s.name, nil
		}
	}
	return "", nil
}
