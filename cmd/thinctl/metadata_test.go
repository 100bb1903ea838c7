package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/blockdev"
	"thinctl/internal/metadatafile"
	"thinctl/internal/testkit/metadatatest"
	"thinctl/loopback"
	"thinctl/thinpool/metadata"
)

// writeMetadata makes a pool of data blocks of 64 KiB: device 1 with 1000
// blocks; its snapshot 2, with 5 written anew, 10 discarded and 3 added; empty
// device 3. The metadata snapshot is from before device 2 was written to.
func writeMetadata(path string, kinds []string) error {
	kind := strings.Join(kinds, " ")
	p := metadatatest.New(1)
	p.Create(1)
	p.Write(1, 0, 1000)
	p.Snapshot(2, 1)
	p.Create(3)
	if kind != "unheld" {
		p.Hold()
	}
	p.Write(2, 100, 5)
	p.Discard(2, 500, 10)
	p.Write(2, 2000, 3)
	m, _, err := p.Image(metadatatest.SaveOptions{NeedsCheck: kind == "needs check", UUID: [16]byte{0xab, 15: 0xcd}})
	if err != nil {
		return err
	}
	if name, ok := strings.CutPrefix(kind, "damage "); ok {
		if err := damage(m, name); err != nil {
			return err
		}
		return os.WriteFile(path, m.Bytes, 0o600)
	}
	super, le := m.Bytes[:metadata.BlockSize], binary.LittleEndian
	switch kind {
	case "", "unheld", "needs check":
	case "magic":
		le.PutUint64(super[32:], 1)
	case "incompat":
		le.PutUint32(super[360:], 4)
	case "version":
		le.PutUint32(super[40:], 3)
	case "huge":
		le.PutUint64(super[192:], 1<<60)
	case "huge data":
		le.PutUint64(super[64:], 1<<50)
	case "flipped":
		super[100] ^= 1
		return os.WriteFile(path, m.Bytes, 0o600)
	case "trees":
		for at := int(metadata.BlockSize); at < len(m.Bytes); at += int(metadata.BlockSize) {
			m.Bytes[at+40] ^= 1
		}
	default:
		return fmt.Errorf("metadata %q is not known", kind)
	}
	metadata.SetChecksum(super, metadata.SuperblockBlock)
	return os.WriteFile(path, m.Bytes, 0o600)
}

// damage does metadatatest's damage of that name.
func damage(m *metadatatest.Image, name string) error {
	for _, d := range metadatatest.Damages() {
		if d.Name == name {
			if _, ok, err := d.Apply(m, 0); err != nil || !ok {
				return fmt.Errorf("damage %q was not done: %w", name, err)
			}
			return nil
		}
	}
	return fmt.Errorf("damage %q is not known", name)
}

// metadata knows who uses what on the machine in memory.
func (m *machine) metadata() metadatafile.Host {
	busy := func(path string) error {
		return fmt.Errorf("opening metadata %s: %w", path, metadata.ErrBusy)
	}
	return metadatafile.Host{
		Loops: func(ctx context.Context, file string) ([]loopback.Device, error) { return m.host.loops.Find(ctx, file) },
		Claim: func(path string) (io.Closer, error) {
			for _, loop := range m.host.loops.Attached() {
				if loop.Path == path && m.host.kernel.DiskHeld(blockdev.Number(loop.Number)) {
					return nil, busy(path)
				}
			}
			return io.NopCloser(nil), nil
		},
		Offline: func(path string) (*metadata.File, error) {
			m.host.disks.mu.Lock()
			defer m.host.disks.mu.Unlock()
			if device := m.host.disks.devices[path]; device != nil && device.busy {
				return nil, busy(path)
			}
			return metadata.OpenOffline(path)
		},
	}
}

// A snapshot that goes, or is made anew, while it is read is told.
func TestHeldRootReleasedMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta")
	if err := writeMetadata(path, nil); err != nil {
		t.Fatal(err)
	}
	s := &source{path: path}
	if err := s.open(t.Context(), metadatafile.Local(), true); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.unmoved(nil); err != nil {
		t.Errorf("nothing happened: %v", err)
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
		if err := s.unmoved(nil); !errors.Is(err, errUnhealthy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file behind a real loop device that someone has claimed.
func TestMetadataBehindALoopDevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta")
	if err := writeMetadata(path, nil); err != nil {
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
		t.Errorf("nobody uses %s: %v", device.Path, err)
	}
	claim, err := metadata.OpenOffline(device.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Close()
	if err := open(); !errors.Is(err, metadata.ErrBusy) {
		t.Errorf("%s is claimed: %v", device.Path, err)
	}
}
