package thinpool_test

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"os"

	"thinctl/thinpool"
)

// memoryTools are metadata tools that find what they were told to.
type memoryTools struct {
	problems map[string][]string // by path
}

var _ thinpool.MetadataTools = (*memoryTools)(nil)

func (m *memoryTools) Check(_ context.Context, path string) ([]string, error) {
	return m.problems[path], nil
}

// ClearNeedsCheck clears the superblock's flag and seals it again.
func (m *memoryTools) ClearNeedsCheck(_ context.Context, path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	block := make([]byte, 4096)
	if _, err := file.ReadAt(block, 0); err != nil {
		return err
	}
	seal(block, binary.LittleEndian.Uint32(block[4:])&^1)
	_, err = file.WriteAt(block, 0)
	return err
}

// seal puts flags into a superblock (dm-thin-metadata.c, sb_prepare_for_write).
func seal(block []byte, flags uint32) {
	binary.LittleEndian.PutUint32(block[4:], flags)
	sum := ^crc32.Checksum(block[4:4096], crc32.MakeTable(crc32.Castagnoli)) ^ 160774
	binary.LittleEndian.PutUint32(block, sum)
}

func (m *memoryTools) Repair(_ context.Context, damaged, fresh string) error {
	content, err := os.ReadFile(damaged)
	if err != nil {
		return err
	}
	delete(m.problems, damaged)
	return os.WriteFile(fresh, content, 0o600)
}
