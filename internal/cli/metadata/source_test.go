package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"thinctl/fault"
	"thinctl/internal/metadatafile"
	"thinctl/internal/testkit/metadatatest"
	"thinctl/internal/testkit/need"
	"thinctl/loopback"
	"thinctl/thinpool/metadata"
)

// TestHeldRootReleased checks that a metadata snapshot that changes while it is read is an error.
func TestHeldRootReleased(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta")
	if err := metadatatest.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	s := &source{path: path}
	if err := s.open(t.Context(), metadatafile.Local(), true); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.checkHeld(nil); err != nil {
		t.Errorf("without a change: got %v, want no error", err)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(held, super []byte){
		"released":    func(_, super []byte) { binary.LittleEndian.PutUint64(super[56:], 0) },
		"another one": func(held, _ []byte) { held[48]++ }, // its transaction id
		"overwritten": func(held, _ []byte) { clear(held) },
	} {
		b := bytes.Clone(old)
		super, held := b[:metadata.BlockSize], b[s.live.HeldRoot*uint64(metadata.BlockSize):][:metadata.BlockSize]
		change(held, super)
		metadata.SetChecksum(super, metadata.SuperblockBlock)
		metadata.SetChecksum(held, metadata.SuperblockBlock)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.checkHeld(nil); !errors.Is(err, fault.Unhealthy) {
			t.Errorf("%s: got %v, want an unhealthy pool", name, err)
		}
	}
}

// TestMetadataBehindALoopDevice checks a file whose loop device another process has claimed.
func TestMetadataBehindALoopDevice(t *testing.T) {
	need.Loops(t)
	path := filepath.Join(t.TempDir(), "meta")
	if err := metadatatest.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	loops := loopback.New(loopback.Options{})
	defer loops.Close()
	device, err := loops.Attach(t.Context(), path, loopback.AttachOptions{Autoclear: true})
	if err != nil {
		t.Fatal(err)
	}
	open := func() error {
		s := &source{path: path}
		return errors.Join(s.open(t.Context(), metadatafile.Local(), false), s.close())
	}
	if err := open(); err != nil {
		t.Errorf("open %s without a user: got %v, want no error", device.Path, err)
	}
	claim, err := metadata.OpenOffline(device.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Close()
	if err := open(); !errors.Is(err, fault.Busy) {
		t.Errorf("open a file behind %s, which is claimed: got %v, want busy", device.Path, err)
	}
}
