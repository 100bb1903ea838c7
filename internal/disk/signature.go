package disk

import (
	"errors"
	"fmt"
	"io"
)

// signature is a magic number at a fixed offset, which identifies an owner.
type signature struct {
	owner  string
	offset int64 // from the end of the device if negative
	magic  string
}

// signatures lists file systems, volume managers and partition tables. It is a part of
// the list in util-linux' libblkid. Partition tables come last, since file systems have
// boot sectors, too.
func signatures() []signature {
	return []signature{
		{"an ext2, ext3 or ext4 file system", 1080, "\x53\xef"},
		{"an xfs file system", 0, "XFSB"},
		{"a btrfs file system", 65536 + 64, "_BHRfS_M"},
		{"an f2fs file system", 1024, "\x10\x20\xf5\xf2"},
		{"a squashfs file system", 0, "hsqs"},
		{"an erofs file system", 1024, "\xe2\xe1\xf5\xe0"},
		{"a reiserfs file system", 65536 + 52, "ReIsEr"},
		{"a jfs file system", 32768, "JFS1"},
		{"an iso9660 file system", 32769, "CD001"},
		{"an ntfs file system", 3, "NTFS    "},
		{"an exfat file system", 3, "EXFAT   "},
		{"swap space", 4086, "SWAPSPACE2"},
		{"swap space", 4086, "SWAP-SPACE"},
		{"swap space", 65526, "SWAPSPACE2"},
		{"an LVM physical volume", 0, "LABELONE"},
		{"an LVM physical volume", 512, "LABELONE"},
		{"an LVM physical volume", 1024, "LABELONE"},
		{"an LVM physical volume", 1536, "LABELONE"},
		{"a LUKS container", 0, "LUKS\xba\xbe"},
		{"an md RAID member", 0, "\xfc\x4e\x2b\xa9"},
		{"an md RAID member", 4096, "\xfc\x4e\x2b\xa9"},
		// dm-thin-metadata.c, THIN_SUPERBLOCK_MAGIC: 27022010.
		{"thin pool metadata", 32, "\xba\x52\x9c\x01\x00\x00\x00\x00"},
		{"dm-cache metadata", 32, "\x33\xb7\x5d\x00\x00\x00\x00\x00"},
		{"a bcache device", 4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
		{"a bluestore device", 0, "bluestore block device"},
		{"a GPT partition table", 512, "EFI PART"},
		{"a GPT partition table", 4096, "EFI PART"},
		{"a backup of a GPT partition table", -512, "EFI PART"},
		{"a backup of a GPT partition table", -4096, "EFI PART"},
		{"a partition table or boot sector", 510, "\x55\xaa"},
	}
}

// Signature names the owner of the first signature on a device of size bytes, "" for
// none. A device without a signature may still hold data: see Contents.
func Signature(r io.ReaderAt, size int64) (string, error) {
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
			return "", fmt.Errorf("read at byte %d: %w", at, err)
		}
		if string(b) == s.magic {
			return s.owner, nil
		}
	}
	return "", nil
}
