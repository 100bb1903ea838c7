package metadata

import (
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/internal/testkit/need"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// dump is the XML of thin_dump and thin_restore.
type dump struct {
	XMLName       xml.Name     `xml:"superblock"`
	UUID          string       `xml:"uuid,attr"`
	Time          uint32       `xml:"time,attr"`
	Transaction   uint64       `xml:"transaction,attr"`
	Flags         uint32       `xml:"flags,attr"`
	Version       uint32       `xml:"version,attr"`
	DataBlockSize uint32       `xml:"data_block_size,attr"`
	DataBlocks    uint64       `xml:"nr_data_blocks,attr"`
	Devices       []dumpDevice `xml:"device"`
}

type dumpDevice struct {
	ID          uint32   `xml:"dev_id,attr"`
	Mapped      uint64   `xml:"mapped_blocks,attr"`
	Transaction uint64   `xml:"transaction,attr"`
	Created     uint32   `xml:"creation_time,attr"`
	Snapped     uint32   `xml:"snap_time,attr"`
	Ranges      []extent `xml:"range_mapping"`
}

type extent struct {
	Origin uint64 `xml:"origin_begin,attr"`
	Data   uint64 `xml:"data_begin,attr"`
	Length uint64 `xml:"length,attr"`
	Time   uint32 `xml:"time,attr"`
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// tool runs one of the thin-provisioning-tools.
func tool(t fataler, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed: apt-get install thin-provisioning-tools (%v)", name, err)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// restore writes d as binary metadata.
func restore(t fataler, dir string, d dump) string {
	t.Helper()
	text, err := xml.Marshal(d)
	if err != nil {
		t.Fatalf("%v", err)
	}
	in, out := filepath.Join(dir, "meta.xml"), filepath.Join(dir, "meta.bin")
	if err := os.WriteFile(in, text, 0o600); err != nil {
		t.Fatalf("%v", err)
	}
	if err := os.WriteFile(out, nil, 0o600); err != nil {
		t.Fatalf("%v", err)
	}
	if err := os.Truncate(out, 8<<20); err != nil {
		t.Fatalf("%v", err)
	}
	tool(t, "thin_restore", "-i", in, "-o", out)
	return out
}

func drawDump(t *rapid.T) dump {
	d := dump{
		Time: rapid.Uint32().Draw(t, "time"), Transaction: rapid.Uint64Range(0, 1<<60).Draw(t, "transaction"),
		Version: 2, DataBlockSize: 128 * rapid.Uint32Range(1, 16384).Draw(t, "data block size"),
		DataBlocks: rapid.Uint64Range(1, 1<<16).Draw(t, "data blocks"),
	}
	ids := rapid.Uint32Range(0, MaxDeviceID)
	if rapid.Bool().Draw(t, "crowded") {
		ids = rapid.Uint32Range(0, 2000)
	}
	count := rapid.SampledFrom([]int{0, 1, 5, 126, 127, 300, 1000}).Draw(t, "devices")
	seen := map[uint32]bool{}
	for range count {
		id := ids.Draw(t, "id")
		if seen[id] {
			continue
		}
		seen[id] = true
		v := dumpDevice{
			ID: id, Transaction: rapid.Uint64Range(0, 1<<60).Draw(t, "made in"),
			Created: rapid.Uint32().Draw(t, "created"), Snapped: rapid.Uint32().Draw(t, "snapped"),
		}
		if length := rapid.Uint64Range(0, min(d.DataBlocks, 20)).Draw(t, "mapped"); length > 0 {
			v.Mapped = length
			v.Ranges = []extent{{Origin: rapid.Uint64Range(0, 1<<30).Draw(t, "origin"), Length: length}}
		}
		d.Devices = append(d.Devices, v)
	}
	return d
}

// Devices returns what thin_ls and thin_dump read from metadata of thin_restore.
func TestDevicesAgreeWithTools(t *testing.T) {
	need.Program(t, "thin_restore")
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		d := drawDump(t)
		path := restore(t, dir, d)
		m, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		root, err := ReadSuperblock(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Devices(m, root)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(d.Devices) {
			t.Fatalf("got %d devices, want %d", len(got), len(d.Devices))
		}

		var lines strings.Builder
		for _, v := range got {
			fmt.Fprintln(&lines, v.ID, v.MappedBlocks, v.TransactionID, v.CreationTime, v.SnapshottedTime)
		}
		ls := tool(t, "thin_ls", "--no-headers", "-o", "DEV,MAPPED_BLOCKS,TRANSACTION,CREATE_TIME,SNAP_TIME", path)
		if diff := cmp.Diff(squeeze(ls), squeeze(lines.String())); diff != "" {
			t.Fatalf("devices (-thin_ls +got):\n%s", diff)
		}

		var back dump
		if err := xml.Unmarshal([]byte(tool(t, "thin_dump", path)), &back); err != nil {
			t.Fatal(err)
		}
		var dumped []Device
		for _, v := range back.Devices {
			dumped = append(dumped, Device{v.ID, v.Mapped, v.Transaction, v.Created, v.Snapped})
		}
		if diff := cmp.Diff(dumped, got); diff != "" {
			t.Fatalf("devices (-thin_dump +got):\n%s", diff)
		}
		if back.Time != root.Time || back.Transaction != root.TransactionID || back.Version != root.Version ||
			back.DataBlockSize != uint32(root.DataBlockSize) || back.DataBlocks != root.DataSpaceMap.Blocks {
			t.Fatalf("got superblock %+v, thin_dump has %+v", root, back)
		}
	})
}

func squeeze(table string) []string {
	var rows []string
	for line := range strings.Lines(table) {
		if words := strings.Fields(line); len(words) > 0 {
			rows = append(rows, strings.Join(words, " "))
		}
	}
	return rows
}
