package dm

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
)

func number(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// encodeList lays out entries as DM_LIST_DEVICES of that protocol does.
func encodeList(entries []Entry, version Version) []byte {
	var out []byte
	for i, e := range entries {
		var b []byte
		b = binary.NativeEndian.AppendUint64(b, unix.Mkdev(e.Dev.Major, e.Dev.Minor))
		b = append(b, 0, 0, 0, 0)
		b = append(append(b, mangle(string(e.Name))...), 0)
		b = append(b, make([]byte, align8(len(b))-len(b))...)
		if version.AtLeast(4, 37) {
			b = append(b, number(e.EventNr)...)
			flags := uint32(0)
			if version.AtLeast(4, 45) && e.UUID != "" {
				flags = unix.DM_NAME_LIST_FLAG_HAS_UUID
			}
			b = append(b, number(flags)...)
			if flags != 0 {
				b = append(append(b, mangle(string(e.UUID))...), 0)
			}
			b = append(b, make([]byte, align8(len(b))-len(b))...)
		}
		if i < len(entries)-1 {
			copy(b[8:], number(uint32(len(b))))
		}
		out = append(out, b...)
	}
	return out
}

func sampleList() []Entry {
	return []Entry{
		{Name: "vault", UUID: "THINCTL-1", Dev: blockdev.Number{Major: 253, Minor: 0}, EventNr: 7},
		{Name: "two words", Dev: blockdev.Number{Major: 253, Minor: 1}},
		{
			Name: Name(strings.Repeat("n", 127)), UUID: UUID(strings.Repeat("u", 128)),
			Dev: blockdev.Number{Major: 4095, Minor: 1<<20 - 1}, EventNr: 1<<32 - 1,
		},
	}
}

func TestDecodeList(t *testing.T) {
	for _, version := range []Version{{4, 27, 0}, {4, 37, 0}, {4, 45, 0}, {4, 48, 0}} {
		want := sampleList()
		for i := range want {
			if !version.AtLeast(4, 37) {
				want[i].EventNr = 0
			}
			if !version.AtLeast(4, 45) {
				want[i].UUID = ""
			}
		}
		got, err := decodeList(encodeList(sampleList(), version), version)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", version, got, err, want)
		}
	}
	if got, err := decodeList(make([]byte, 16), Version{4, 48, 0}); len(got) != 0 || err != nil {
		t.Errorf("empty list: got %v, %v, want none", got, err)
	}
	whole := encodeList(sampleList()[:1], Version{4, 27, 0})
	for n := 1; n < 12+len("vault"); n++ {
		if got, err := decodeList(whole[:n], Version{4, 27, 0}); err == nil {
			t.Errorf("list of %d bytes: got %v, want an error", n, got)
		}
	}
}

func TestDecodeTable(t *testing.T) {
	lines := []Line{
		{Start: 0, Length: 8, Type: "linear", Params: "7:1 0"}, {Start: 8, Length: 1 << 40, Type: "error"},
		{Start: 16, Length: 8, Type: strings.Repeat("t", 15), Params: strings.Repeat("p ", 3000) + "p"},
	}
	encoded := encodeTable(lines)
	// next counts from each spec in a table to load, and from the first in a printed one.
	for at, i := 0, 0; i < len(lines); i++ {
		next := at + int(binary.NativeEndian.Uint32(encoded[at+20:]))
		copy(encoded[at+20:], number(uint32(next)))
		at = next
	}
	got, err := decodeTable(encoded, len(lines))
	if err != nil || !reflect.DeepEqual(got, lines) {
		t.Errorf("got %+v, %v, want %+v", got, err, lines)
	}
	if got, err := decodeTable(encoded, len(lines)+1); err == nil {
		t.Errorf("one line too many: got %v, want an error", got)
	}
	if got, err := decodeTable(nil, 0); err != nil || len(got) != 0 {
		t.Errorf("no table: got %v, %v, want none", got, err)
	}
	copy(encoded[20:], number(0))
	if got, err := decodeTable(encoded, len(lines)); err == nil {
		t.Errorf("next of 0: got %v, want an error", got)
	}
}

func TestDecodeVersions(t *testing.T) {
	var b []byte
	for i, name := range []string{"thin-pool", "thin"} {
		entry := append(number(0), append(append(number(1), number(22)...), number(uint32(i))...)...)
		entry = append(append(entry, name...), 0)
		entry = append(entry, make([]byte, align8(len(entry))-len(entry))...)
		if i == 0 {
			copy(entry, number(uint32(len(entry))))
		}
		b = append(b, entry...)
	}
	got, err := decodeVersions(b)
	want := []TargetVersion{{"thin-pool", Version{1, 22, 0}}, {"thin", Version{1, 22, 1}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, n := range []int{0, 15, 18} {
		if got, err := decodeVersions(b[:n]); err == nil {
			t.Errorf("list of %d bytes: got %v, want an error", n, got)
		}
	}
}

func TestDecodeDeps(t *testing.T) {
	b := append(number(2), 0, 0, 0, 0)
	b = binary.NativeEndian.AppendUint64(b, unix.Mkdev(7, 1))
	b = binary.NativeEndian.AppendUint64(b, unix.Mkdev(253, 300))
	got, err := decodeDeps(b)
	want := []blockdev.Number{{Major: 7, Minor: 1}, {Major: 253, Minor: 300}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range [][]byte{nil, b[:7], b[:len(b)-1], append(number(1<<32-1), b[4:]...)} {
		if got, err := decodeDeps(bad); err == nil {
			t.Errorf("%v: got %v, want an error", bad, got)
		}
	}
}

func FuzzDecodeAnswers(f *testing.F) {
	f.Add([]byte{}, uint32(0), 1)
	f.Add(encodeList(sampleList(), Version{4, 48, 0}), uint32(48), 3)
	f.Add(encodeList(sampleList(), Version{4, 37, 0}), uint32(37), 2)
	f.Add(encodeTable([]Line{{Length: 8, Type: "linear", Params: "7:1 0"}, {Length: 8, Type: "error"}}), uint32(0), 2)
	f.Add(append(number(1), make([]byte, 12)...), uint32(0), 1)
	f.Add(append(number(1<<31), make([]byte, 40)...), uint32(45), 1<<20)
	f.Fuzz(func(t *testing.T, b []byte, minor uint32, count int) {
		// The decoders must return for any input, and read nothing beyond the buffer.
		entries, err := decodeList(b, Version{4, minor, 0})
		if err == nil && len(entries) > len(b)/12 {
			t.Fatalf("got %d entries in %d bytes", len(entries), len(b))
		}
		lines, err := decodeTable(b, count)
		if err == nil && len(lines) != max(count, 0) {
			t.Fatalf("got %d lines, want %d", len(lines), count)
		}
		if versions, err := decodeVersions(b); err == nil && len(versions) > len(b)/16 {
			t.Fatalf("got %d versions in %d bytes", len(versions), len(b))
		}
		if devs, err := decodeDeps(b); err == nil && len(devs) > len(b)/8 {
			t.Fatalf("got %d devices in %d bytes", len(devs), len(b))
		}
	})
}

func TestParseCookies(t *testing.T) {
	const head = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"
	got, err := parseCookies(head +
		" 223198453          3   600          1     0     0     0     0 1700000000 1700000001\n" + // 0x0d4dbcf5
		"         0          4   600          1     0     0     0     0          0 1700000001\n" +
		"-559038737          5   600          1     0     0     0     0          0 1700000001\n")
	if err != nil || len(got) != 1 || got[0].ID != 0x0d4dbcf5 || got[0].Changed.Unix() != 1700000001 {
		t.Errorf("got %+v, %v, want only the cookie 0x0d4dbcf5 of 1700000001", got, err)
	}
	for _, none := range []string{"", head, "\n"} {
		if got, err := parseCookies(none); err != nil || len(got) != 0 {
			t.Errorf("%q: got %v, %v, want none", none, got, err)
		}
	}
	for _, bad := range []string{"x", "1 2 3", "1 2 3 4 5 6 7 8 9", "k 2 3 4 5 6 7 8 9 10"} {
		if got, err := parseCookies(head + bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v, %v, want an error with the line", bad, got, err)
		}
	}
}

func FuzzParseCookies(f *testing.F) {
	f.Add("key\n 223198453 3 600 1 0 0 0 0 0 1")
	f.Add("\n\n1 2 3 4 5 6 7 8 9 99999999999999999999")
	f.Add("")
	f.Fuzz(func(t *testing.T, table string) {
		cookies, err := parseCookies(table)
		for _, cookie := range cookies {
			if err != nil || cookie.ID>>16 != cookieMagic {
				t.Fatalf("got %+v, %v, want only cookies, and none with an error", cookie, err)
			}
		}
	})
}
