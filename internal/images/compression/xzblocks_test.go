package compression_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"thinctl/internal/images/compression"
	"thinctl/internal/testkit/need"
	"thinctl/units"
)

// xzHeader returns the header of a block with a dictionary of a size in the
// encoding of the .xz file format: 0x16 for 8 MiB, 40 for 4 GiB.
func xzHeader(dictionary byte) []byte {
	h := []byte{2, 0, 0x21, 1, dictionary, 0, 0, 0}
	return binary.LittleEndian.AppendUint32(h, crc32.ChecksumIEEE(h))
}

func xzOf(t *testing.T, data []byte, flags ...string) []byte {
	t.Helper()
	c := exec.Command(need.Program(t, "xz"), append(flags, "-T1", "--lzma2=dict=8MiB", "-c")...)
	c.Stdin = bytes.NewReader(data)
	packed, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// TestXzBlocks reads streams of several blocks whose dictionaries differ, with
// every check, and data that do not compress among those that do.
func TestXzBlocks(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	random := make([]byte, 150_001)
	rand.NewChaCha8([32]byte{1}).Read(random)
	data = append(append(data, random...), data...)
	for _, check := range []string{"none", "crc32", "crc64", "sha256"} {
		packed := xzOf(t, data, "--check="+check, "--block-size=100001")
		if n := bytes.Count(packed, xzHeader(0x16)); n != 8 {
			t.Fatalf("got %d blocks, want 8", n)
		}
		got, _, err := read(t, bytes.NewReader(packed), compression.Options{Window: 8 * units.MiB})
		if err != nil || got != string(data) {
			t.Errorf("%s: got %d bytes, %v, want %d", check, len(got), err, len(data))
		}
		for _, end := range []int{12, bytes.LastIndex(packed, xzHeader(0x16))} {
			if _, _, err := read(t, bytes.NewReader(packed[:end]), compression.Options{}); !errors.Is(err, compression.ErrTruncated) {
				t.Errorf("%s, cut before a block: got %v, want %v", check, err, compression.ErrTruncated)
			}
		}
		last := bytes.LastIndex(packed, xzHeader(0x16))
		copy(packed[last:], xzHeader(40))
		got, _, err = read(t, bytes.NewReader(packed), compression.Options{})
		if !errors.Is(err, compression.ErrWindow) {
			t.Errorf("%s, the last block with a dictionary of 4 GiB: got %d bytes, %v, want %v", check, len(got), err, compression.ErrWindow)
		}
	}
}

// TestXzHiddenBlock hides the end of a block and the header of another one, with
// a dictionary of 4 GiB, in the compressed data of a chunk.
func TestXzHiddenBlock(t *testing.T) {
	packed := xzOf(t, bytes.Repeat([]byte("0123456789abcdef"), 100), "--check=none")
	const chunk = 12 + 12
	if packed[chunk] < 0xe0 {
		t.Fatalf("got a chunk with control %#x, want a compressed one", packed[chunk])
	}
	size := int(binary.BigEndian.Uint16(packed[chunk+3:])) + 1
	end := chunk + 6 + size
	hidden := make([]byte, 1+(-(6+size+1)&3))
	hidden = append(append(hidden, xzHeader(40)...), packed[chunk:end]...)
	packed = append(append(bytes.Clone(packed[:end]), hidden...), packed[end:]...)
	binary.BigEndian.PutUint16(packed[chunk+3:], uint16(size+len(hidden)-1))
	_, _, err := read(t, bytes.NewReader(packed), compression.Options{})
	// The library would find other damage later, with the dictionary allocated.
	if words := "data after its end"; !errors.Is(err, compression.ErrDamaged) || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want %v with %q", err, compression.ErrDamaged, words)
	}
}
