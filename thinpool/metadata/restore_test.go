package metadata_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/internal/testkit/need"
	"thinctl/thinpool/metadata"
)

func restored(xml string, o metadata.RestoreOptions) (*metadatatest.Image, metadata.Superblock, error) {
	m := &metadatatest.Image{}
	s, err := metadata.Restore(context.Background(), strings.NewReader(xml), m, o)
	if err == nil {
		err = m.Truncate(int64(o.MetadataBlocks) * int64(metadata.BlockSize))
	}
	return m, s, err
}

// Restore makes metadata that thin_check accepts and that has the same dump.
// thin_restore reads the XML of Dump, and its metadata has the same dump.
func TestRestoreAgreesWithThinRestore(t *testing.T) {
	need.Program(t, "thin_restore")
	each(t, 90, func(seed uint64, dir string) error {
		m, s, err := metadatatest.Random(seed + 10000).Image(metadatatest.SaveOptions{NeedsCheck: seed%9 == 0})
		if err != nil {
			return err
		}
		text, err := dumped(m, s, metadata.DumpOptions{})
		if err != nil {
			return err
		}
		fill := 34 + int(seed%67)
		again, root, err := restored(text, metadata.RestoreOptions{MetadataBlocks: 2000, Fill: fill})
		if err != nil {
			return err
		}
		path, err := written(dir, again)
		if err != nil {
			return err
		}
		if seed%9 != 0 {
			if _, err := thin("thin_check", path); err != nil {
				return err
			}
		}
		if err := sameDump(again, root, path, nil); err != nil {
			return err
		}
		got, err := dumped(again, root, metadata.DumpOptions{})
		if err != nil {
			return err
		}
		if err := differ("restored", text, got); err != nil || seed%4 != 0 {
			return err
		}
		in := filepath.Join(dir, "xml")
		if err := errors.Join(os.WriteFile(in, []byte(text), 0o600), os.WriteFile(path, nil, 0o600),
			os.Truncate(path, 8<<20)); err != nil {
			return err
		}
		if _, err := thin("thin_restore", "-i", in, "-o", path); err != nil {
			return err
		}
		if got, err = thin("thin_dump", path); err != nil {
			return err
		}
		return differ("thin_restore", text, got)
	})
}

const (
	head = `<superblock uuid="" time="9" transaction="3" flags="0" version="2" data_block_size="128" nr_data_blocks="1000">` + "\n"
	tail = "</superblock>\n"
)

func device(id int, inside string) string {
	return fmt.Sprintf("<device dev_id=\"%d\" mapped_blocks=\"0\" transaction=\"1\" creation_time=\"2\" "+
		"snap_time=\"3\">\n%s</device>\n", id, inside)
}

func single(virtual, data uint64) string {
	return fmt.Sprintf("<single_mapping origin_block=\"%d\" data_block=\"%d\" time=\"4\"/>\n", virtual, data)
}

func ranged(virtual, data, length uint64) string {
	return fmt.Sprintf("<range_mapping origin_begin=\"%d\" data_begin=\"%d\" length=\"%d\" time=\"4\"/>\n", virtual,
		data, length)
}

func TestRestoreErrors(t *testing.T) {
	for _, c := range []struct {
		name, xml string
		line      int
		text      string
	}{
		{"no text", "", 1, "no <superblock>"},
		{"only blanks", "\n\n  \n", 4, "no <superblock>"},
		{"not XML", "\x7fELF\x00", 1, "text \"\\x7fELF"},
		{"a zeroed file", strings.Repeat("\x00", 5000), 1, "not the dump"},
		{"another root", "<foo>\n</foo>", 1, "unknown element <foo>"},
		{"XML of a cache", `<superblock uuid="" block_size="128" nr_cache_blocks="1"/>`, 1, "no attribute block_size"},
		{"incomplete tag", head + `<device dev_id="1" ma`, 2, "it is incomplete"},
		{"incomplete device", head + strings.TrimSuffix(device(1, single(1, 1)), "</device>\n"), 4, "ends inside <device>"},
		{"no end tag", head + device(1, ""), 4, "ends inside <superblock>"},
		{"incomplete comment", head + "<!-- abc", 2, "it is incomplete"},
		{"wrong end tag", head + "<device dev_id=\"1\" transaction=\"1\" creation_time=\"2\" snap_time=\"3\">\n</superblock>", 3, "</superblock> ends <device>"},
		{"end tag without start tag", "</device>", 1, "</device> ends <>"},
		{"text", head + device(1, "5\n"), 3, `text "5`},
		{"two superblocks", head + tail + head + tail, 3, "a second <superblock>"},
		{"a device outside", device(1, ""), 1, "<device> outside <superblock>"},
		{"a mapping outside", head + single(1, 1) + tail, 2, "outside <device>"},
		{"a device inside another", head + device(1, device(2, "")) + tail, 3, "outside <superblock>"},
		{"a mapping inside another", head + device(1, "<single_mapping origin_block=\"1\" data_block=\"1\" time=\"1\">\n"+single(2, 2)+"</single_mapping>") + tail, 4, "outside <device>"},
		{"overlapping ranges", head + device(1, ranged(0, 0, 10)+ranged(9, 20, 3)) + tail, 4, "virtual block 9 is not after"},
		{"out of order", head + device(1, single(7, 1)+single(5, 2)) + tail, 4, "virtual block 5"},
		{"the same block twice", head + device(1, single(7, 1)+single(7, 1)) + tail, 4, "virtual block 7"},
		{"after the highest block", head + device(1, single(1<<64-1, 1)+single(0, 2)) + tail, 4, "virtual block 0"},
		{"range past the highest block", head + device(1, ranged(1<<64-2, 1, 3)) + tail, 3, "exceed 64 bits"},
		{"no length", head + device(1, ranged(1, 1, 0)) + tail, 3, "a range of 0 blocks"},
		{"beyond the data", head + device(1, single(1, 1000)) + tail, 3, "nr_data_blocks"},
		{"a range beyond the data", head + device(1, ranged(1, 999, 2)) + tail, 3, "data blocks 999 to 1000"},
		{"a range that wraps", head + device(1, ranged(1, 999, 1<<64-1)) + tail, 3, "nr_data_blocks is 1000"},
		{"an id of 25 bits", head + device(1<<24, "") + tail, 2, "dev_id is 16777216"},
		{"a device twice", head + device(5, "") + device(5, "") + tail, 4, "device 5 appears twice"},
		{"a time of 25 bits", head + device(1, strings.Replace(single(1, 1), `"4"`, `"16777216"`, 1)) + tail, 3, "time is 16777216"},
		{"not a number", head + device(1, strings.Replace(single(1, 1), `"4"`, `"0x4"`, 1)) + tail, 3, "not a number"},
		{"negative", head + device(1, strings.Replace(single(1, 1), `"4"`, `"-4"`, 1)) + tail, 3, "not a number"},
		{"an empty number", head + device(1, strings.Replace(single(1, 1), `"4"`, `""`, 1)) + tail, 3, "time is empty"},
		{"over 64 bits", head + device(1, strings.Replace(single(1, 1), `"4"`, `"99999999999999999999"`, 1)) + tail, 3, "want at most"},
		{"no time", head + device(1, `<single_mapping origin_block="1" data_block="2"/>`) + tail, 3, "without time"},
		{"time twice", head + device(1, `<single_mapping time="1" time="2"/>`) + tail, 3, "time twice"},
		{"an unknown attribute", head + device(1, `<single_mapping origin_block="1" data_block="2" time="1" colour="red"/>`) + tail, 3, "no attribute colour"},
		{"no quotes", head + device(1, `<single_mapping origin_block=1 />`) + tail, 3, "no quotes"},
		{"an entity", head + device(1, `<single_mapping origin_block="&#49;" />`) + tail, 3, "has an entity"},
		{"a document type", `<!DOCTYPE superblock [<!ENTITY a "b">]>`, 1, "is not a tag"},
		{"too many attributes", "<superblock " + func() (s string) {
			for i := range 40 {
				s += fmt.Sprintf("a%d=\"\" ", i)
			}
			return s
		}() + ">", 1, "over 16 attributes"},
		{"an endless tag", "<superblock " + strings.Repeat(" ", 2<<20), 1, "tag of over"},
		{"an endless name", "<" + strings.Repeat("a", 2<<20), 1, "tag of over"},
		{"an odd block size", strings.Replace(head, `"128"`, `"100"`, 1) + tail, 1, "data blocks of 100 sectors"},
		{"version 3", strings.Replace(head, `version="2"`, `version="3"`, 1) + tail, 1, "version 3"},
		{"unknown flags", strings.Replace(head, `flags="0"`, `flags="2"`, 1) + tail, 1, "unknown flags 2"},
		{"no data blocks, as from thin_dump -m", strings.Replace(head, `"1000"`, `"0"`, 1) + device(1, single(1, 1)) + tail, 3, "thin_dump -m writes 0"},
		{"too many data blocks", strings.Replace(head, `"1000"`, `"18446744073709551615"`, 1) + tail, 1, "want at most"},
		{"a def twice", head + "<def name=\"a\">\n</def><def name=\"a\">" + tail, 3, "appears twice"},
		{"a def without name", head + "<def>" + tail, 2, "must have the attribute name"},
		{"a def in a device", head + device(1, "<def name=\"a\"></def>") + tail, 3, "outside <superblock>, or inside"},
		{"a ref in a def", head + "<def name=\"a\"><ref name=\"a\"/></def>" + tail, 2, "<ref> outside <device>"},
		{"a ref to nothing", head + device(1, "<ref name=\"a\"/>") + tail, 3, "has no <def> before it"},
		{"a ref out of order", head + "<def name=\"a\">" + single(5, 5) + "</def>" + device(1, single(6, 6)+"<ref name=\"a\"/>") + tail, 5, "begins at virtual block 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, o := range []metadata.RestoreOptions{{MetadataBlocks: 100}, {MetadataBlocks: 3}} {
				m, _, err := restored(c.xml, o)
				var wrong *metadata.XMLError
				if !errors.As(err, &wrong) || wrong.Line != c.line || !strings.Contains(wrong.Text, c.text) {
					t.Fatalf("got %v, want line %d with %q", err, c.line, c.text)
				}
				if len(m.Bytes) > 0 && metadata.KindOf(m.Bytes) != 0 {
					t.Error("got a superblock in spite of the error")
				}
			}
		})
	}
}

// XML that differs from that of thin_dump and has the same meaning.
func TestRestoreReads(t *testing.T) {
	want := head + device(1, ranged(1, 1, 5)) + device(2, "") + tail
	m, s, err := restored(want, metadata.RestoreOptions{MetadataBlocks: 100})
	if err != nil {
		t.Fatal(err)
	}
	text, err := dumped(m, s, metadata.DumpOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, xml := range map[string]string{
		"a declaration":             "<?xml version=\"1.0\"?>\n" + want,
		"a byte order mark":         "\ufeff" + want,
		"comments":                  "<!-- <a> -- > -->" + strings.ReplaceAll(want, "\n", "\n<!-->--->\n"),
		"carriage returns":          strings.ReplaceAll(want, "\n", "\r\n"),
		"one line":                  strings.ReplaceAll(want, "\n", ""),
		"single quotes":             strings.ReplaceAll(want, "\"", "'"),
		"blanks":                    strings.NewReplacer(" ", " \n\t ", "=", " =\n", "/>", "\n/>").Replace(want),
		"separate end tags":         strings.ReplaceAll(want, "/>", "></range_mapping >"),
		"a uuid":                    strings.Replace(want, `uuid=""`, `uuid="abc" metadata_snap="7"`, 1),
		"other order of attributes": strings.Replace(strings.Replace(want, ` time="4"`, "", 1), "<range_mapping", `<range_mapping time="4"`, 1),
		"divided ranges":            head + device(1, ranged(1, 1, 2)+single(3, 3)+ranged(4, 4, 2)) + device(2, "") + tail,
		"devices in another order":  head + device(2, "") + device(1, ranged(1, 1, 5)) + tail,
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(xml), iotest.OneByteReader(strings.NewReader(xml)),
				iotest.DataErrReader(strings.NewReader(xml))} {
				m := &metadatatest.Image{}
				s, err := metadata.Restore(context.Background(), r, m, metadata.RestoreOptions{MetadataBlocks: 100})
				if err != nil {
					t.Fatal(err)
				}
				got, err := dumped(m, s, metadata.DumpOptions{})
				if err == nil {
					err = differ(name, text, got)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestRestoreOptions(t *testing.T) {
	transaction, read := uint64(0), int64(0)
	flagged := strings.Replace(strings.Replace(head, `"1000"`, `"0"`, 1), `flags="0"`, `flags="1"`, 1)
	xml := flagged + device(1, single(1, 1500)) + tail
	_, s, err := restored(xml, metadata.RestoreOptions{
		MetadataBlocks: 100, DataBlocks: 2000, DataBlockSize: 256, TransactionID: &transaction, UUID: [16]byte{1},
		ClearNeedsCheck: true, Progress: func(n int64) { read = n },
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.DataSpaceMap.Blocks != 2000 || s.DataBlockSize != 256 || s.TransactionID != 0 ||
		s.UUID != [16]byte{1} || s.NeedsCheck() {
		t.Errorf("got superblock %+v, want the values of the options", s)
	}
	if read != int64(len(xml)) {
		t.Errorf("got progress of %d bytes, want %d", read, len(xml))
	}
	_, s, err = restored(xml, metadata.RestoreOptions{MetadataBlocks: 100, DataBlocks: 2000})
	if err != nil || !s.NeedsCheck() || s.TransactionID != 3 {
		t.Errorf("got superblock %+v, %v; want needs_check and transaction 3", s, err)
	}
	if _, _, err := restored(xml, metadata.RestoreOptions{}); err == nil || strings.Contains(err.Error(), "line") {
		t.Errorf("no MetadataBlocks: got %v, want an error without a line", err)
	}
}

func TestRestoreStops(t *testing.T) {
	m, s, err := metadatatest.Rich(1).Image(metadatatest.SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := dumped(m, s, metadata.DumpOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = restored(text, metadata.RestoreOptions{MetadataBlocks: 1000})
	var space *metadata.SpaceError
	if !errors.As(err, &space) {
		t.Fatalf("small target: got %v, want a SpaceError", err)
	}
	_, _, err = restored(text, metadata.RestoreOptions{MetadataBlocks: space.Need - 1})
	if !errors.Is(err, metadata.ErrNoSpace) {
		t.Errorf("one block less than needed: got %v, want ErrNoSpace", err)
	}
	if _, _, err := restored(text, metadata.RestoreOptions{MetadataBlocks: space.Need}); err != nil {
		t.Errorf("on as many blocks as are needed: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := metadata.RestoreOptions{MetadataBlocks: 5000, Progress: func(int64) { cancel() }}
	_, err = metadata.Restore(ctx, strings.NewReader(text), &metadatatest.Image{}, o)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v, want context.Canceled", err)
	}
	broken := io.MultiReader(strings.NewReader(text[:5000]), iotest.ErrReader(io.ErrClosedPipe))
	_, err = metadata.Restore(context.Background(), broken, &metadatatest.Image{}, o)
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("reader that fails: got %v, want its error", err)
	}
}

// Restore shares definitions of all sizes, with mappings between the references.
func TestRestoreSharesDefinitions(t *testing.T) {
	need.Program(t, "thin_check")
	each(t, 40, func(seed uint64, dir string) error {
		xml, plain := definitions(rand.New(rand.NewPCG(seed, 5)))
		o := metadata.RestoreOptions{MetadataBlocks: 5000, Fill: 34 + int(seed%67)}
		m, s, err := restored(xml, o)
		if err != nil {
			return err
		}
		path, err := written(dir, m)
		if err != nil {
			return err
		}
		if _, err := thin("thin_check", path); err != nil {
			return err
		}
		unshared, root, err := restored(plain, o)
		if err != nil {
			return err
		}
		want, err := dumped(unshared, root, metadata.DumpOptions{})
		if err != nil {
			return err
		}
		if err := sameDump(m, s, path, nil); err != nil {
			return err
		}
		got, err := dumped(m, s, metadata.DumpOptions{})
		if err != nil {
			return err
		}
		if err := differ("shared", want, got); err != nil {
			return err
		}
		if s.DataSpaceMap.Allocated != root.DataSpaceMap.Allocated {
			return fmt.Errorf("got %d data blocks allocated, want %d as without definitions", s.DataSpaceMap.Allocated,
				root.DataSpaceMap.Allocated)
		}
		report, err := metadata.Check(context.Background(), m, metadata.CheckOptions{})
		if err != nil {
			return err
		}
		if len(report.Findings) > 0 {
			return fmt.Errorf("check: got findings %+v, want none", report.Findings)
		}
		return nil
	})
}

// definitions returns XML with definitions, and the same mappings without definitions.
func definitions(r *rand.Rand) (shared, plain string) {
	top := strings.Replace(head, `"1000"`, `"1000000"`, 1)
	var defs []string
	var starts []uint64
	at := uint64(0)
	shared, plain = top, top
	for i := range r.IntN(6) {
		at += r.Uint64N(200)
		starts = append(starts, at)
		inside := ""
		for range r.IntN(5) {
			n := 1 + r.Uint64N([]uint64{3, 40, 200, 700}[r.IntN(4)])
			inside += ranged(at, at*3, n)
			at += n + r.Uint64N(2)
		}
		defs = append(defs, inside)
		shared += fmt.Sprintf("<def name=\"%d\">\n%s</def>\n", i, inside)
	}
	starts = append(starts, at+100)
	for id := range r.IntN(8) {
		var a, b string
		for i, def := range defs {
			if r.IntN(3) > 0 {
				a, b = a+fmt.Sprintf("<ref name=\"%d\"/>", i), b+def
				continue
			}
			if from := starts[i]; r.IntN(2) == 0 && from < starts[i+1] {
				n := 1 + r.Uint64N(starts[i+1]-from)
				a, b = a+ranged(from, 500000+from, n), b+ranged(from, 500000+from, n)
			}
		}
		if r.IntN(2) == 0 {
			n := 1 + r.Uint64N(150)
			a, b = a+ranged(at+100, 800000, n), b+ranged(at+100, 800000, n)
		}
		shared, plain = shared+device(id, a), plain+device(id, b)
	}
	return shared + tail, plain + tail
}

func FuzzRestore(f *testing.F) {
	f.Add(head + device(1, ranged(1, 1, 5)+single(9, 7)) + tail)
	f.Add(head + "<!-- a --><def name='x'>" + ranged(0, 0, 200) + "</def>" + device(1, "<ref name='x'/>") + tail)
	f.Add("<?xml version='1.0'?>" + head + device(1, ranged(0, 999, 1)) + device(16777215, "") + tail)
	f.Add(head + device(1, ranged(1<<64-1, 0, 1)) + tail)
	f.Fuzz(func(t *testing.T, xml string) {
		m, s, err := restored(xml, metadata.RestoreOptions{MetadataBlocks: 500, DataBlocks: 100000})
		if err != nil {
			if len(m.Bytes) > 0 && metadata.KindOf(m.Bytes) != 0 {
				t.Error("got a superblock in spite of the error")
			}
			return
		}
		text, err := dumped(m, s, metadata.DumpOptions{})
		if err != nil {
			t.Fatal(err)
		}
		m, s, err = restored(text, metadata.RestoreOptions{MetadataBlocks: 2000})
		if err != nil {
			t.Fatal(err)
		}
		again, err := dumped(m, s, metadata.DumpOptions{})
		if err != nil || text != again {
			t.Fatalf("the XML differs after a second restore: %v", err)
		}
	})
}

func BenchmarkRestore(b *testing.B) {
	m := &metadatatest.Image{}
	s, err := metadatatest.Large{Seed: 1, Families: 10, Devices: 1, Mappings: 100000, Run: 1}.Save(m, nil)
	if err != nil {
		b.Fatal(err)
	}
	text, err := dumped(m, s, metadata.DumpOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, _, err := restored(text, metadata.RestoreOptions{MetadataBlocks: 20000}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1e6*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mmappings/s")
}
