package metadatatest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thinctl/internal/testkit/need"
	"thinctl/thinpool/metadata"
)

func thinCheck(t *testing.T, m *Image) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "meta")
	if err := os.WriteFile(path, m.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(need.Program(t, "thin_check"), path).CombinedOutput(); err != nil {
		t.Fatalf("thin_check: %v\n%s", err, out)
	}
}

// The tests of package metadata check thousands of pools more, with all tools.
func TestRandomPoolsAreSound(t *testing.T) {
	for seed := range uint64(40) {
		p := Random(seed)
		m, s, err := p.Image(SaveOptions{Shuffle: seed%2 == 0})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		thinCheck(t, m)
		got, err := metadata.Devices(m, s)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if diff := cmp.Diff(p.Live().Devices(), got); diff != "" {
			t.Fatalf("seed %d: devices (-model +image):\n%s", seed, diff)
		}
	}
}

func TestRichPool(t *testing.T) {
	p := Rich(1)
	m, s, err := p.Image(SaveOptions{DataBlocks: RichDataBlocks, Shuffle: true})
	if err != nil {
		t.Fatal(err)
	}
	thinCheck(t, m)
	if s.HeldRoot == 0 {
		t.Error("got no held root")
	}
	var sum, used uint64
	for _, u := range p.Live().Usage() {
		sum += u.Exclusive
		if u.Mapped != u.Exclusive+u.Shared {
			t.Errorf("got usage %+v, want mapped = exclusive + shared", u)
		}
	}
	if used = p.Live().Used(); sum == 0 || sum >= used {
		t.Errorf("got %d exclusive blocks of %d used, want some and fewer than used", sum, used)
	}
	if all := p.Live().Freed(p.Live().IDs()...); all != used {
		t.Errorf("got %d blocks freed by deleting all devices, want %d", all, used)
	}
}

func TestSeedDeterminesImage(t *testing.T) {
	image := func() *Image {
		m, _, err := Rich(5).Image(SaveOptions{DataBlocks: RichDataBlocks, Shuffle: true})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if !bytes.Equal(image().Bytes, image().Bytes) {
		t.Error("got different images for the same seed")
	}
}

func TestSaveOnTooSmallDevice(t *testing.T) {
	if _, _, err := Rich(1).Image(SaveOptions{MetadataBlocks: 10}); !errors.Is(err, metadata.ErrNoSpace) {
		t.Errorf("got %v, want ErrNoSpace", err)
	}
}
