package metadata_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/internal/testkit/need"
	"thinctl/thinpool/metadata"
)

// thin_check accepts the metadata of the builder, and Dump writes the same bytes as
// thin_dump, also for the held root.
func TestDumpAgreesWithThinDump(t *testing.T) {
	need.Program(t, "thin_dump")
	each(t, 200, func(seed uint64, dir string) error {
		p := metadatatest.Random(seed)
		m, s, err := p.Image(metadatatest.SaveOptions{Shuffle: seed%2 == 0, NeedsCheck: seed%7 == 0})
		if err != nil {
			return err
		}
		path, err := written(dir, m)
		if err != nil {
			return err
		}
		if seed%7 != 0 { // thin_check fails if the flag is set
			if _, err := thin("thin_check", path); err != nil {
				return err
			}
		}
		return sameDump(m, s, path, nil)
	})
}

func sameDump(m *metadatatest.Image, s metadata.Superblock, path string, args []string) error {
	want, err := thin("thin_dump", append(args, path)...)
	if err != nil {
		return err
	}
	got, err := dumped(m, s, metadata.DumpOptions{})
	if err != nil {
		return err
	}
	if err := differ("live", want, got); err != nil || s.HeldRoot == 0 {
		return err
	}
	held, err := metadata.HeldRoot(m, s.HeldRoot)
	if err != nil {
		return err
	}
	if want, err = thin("thin_dump", "-m"+strconv.FormatUint(s.HeldRoot, 10), path); err != nil {
		return err
	}
	if got, err = dumped(m, held, metadata.DumpOptions{}); err != nil {
		return err
	}
	if err := differ("held", want, got); err != nil {
		return err
	}
	got, err = dumped(m, held, metadata.DumpOptions{DataBlocks: 777})
	if err != nil {
		return err
	}
	return differ("held with a size", strings.Replace(want, `nr_data_blocks="0"`, `nr_data_blocks="777"`, 1), got)
}

// In a rich pool runs continue across batches. Without memory for the leaves each leaf
// is read again.
func TestDumpOfManyBatches(t *testing.T) {
	need.Program(t, "thin_dump")
	p := metadatatest.Rich(2)
	p.Load(5000, 300000, 40000, 252)
	m, s := image(t, p, metadatatest.SaveOptions{Shuffle: true})
	path, err := written(t.TempDir(), m)
	if err != nil {
		t.Fatal(err)
	}
	if err := sameDump(m, s, path, nil); err != nil {
		t.Fatal(err)
	}
	want, err := dumped(m, s, metadata.DumpOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := dumped(m, s, metadata.DumpOptions{Memory: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := differ("without memory", want, got); err != nil {
		t.Error(err)
	}
}

func TestDumpOptions(t *testing.T) {
	need.Program(t, "thin_dump")
	m, s := image(t, metadatatest.Rich(4), metadatatest.SaveOptions{})
	path, err := written(t.TempDir(), m)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    metadata.DumpOptions
		args []string
	}{
		{metadata.DumpOptions{SkipMappings: true}, []string{"--skip-mappings"}},
		{metadata.DumpOptions{Devices: []uint32{12}}, []string{"--dev-id", "12"}},
		{metadata.DumpOptions{Devices: []uint32{2, 2}}, []string{"--dev-id", "2"}},
		{metadata.DumpOptions{Devices: []uint32{2}, SkipMappings: true}, []string{"--dev-id", "2", "--skip-mappings"}},
		{metadata.DumpOptions{Devices: []uint32{3, 11, 2}}, []string{"--dev-id", "2", "--dev-id", "3", "--dev-id", "11"}},
	} {
		want, err := thin("thin_dump", append(c.args, path)...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dumped(m, s, c.o)
		if err == nil {
			err = differ(fmt.Sprint(c.args), want, got)
		}
		if err != nil {
			t.Error(err)
		}
	}
	_, err = dumped(m, s, metadata.DumpOptions{Devices: []uint32{2, 99999}})
	if !errors.Is(err, metadata.ErrNoDevice) || !strings.Contains(err.Error(), "99999") {
		t.Errorf("dump of a missing device: got %v, want ErrNoDevice with its id", err)
	}
}

// Damaged trees are an error of Dump, other damage is not.
func TestDumpOfDamage(t *testing.T) {
	p := metadatatest.New(6)
	p.Load(1, 18000, 200, 84) // three levels
	for id := range uint32(150) {
		p.Snapshot(1000+id, 1)
	}
	p.Hold()
	p.Write(1, 0, 3000)
	good, s := image(t, p, metadatatest.SaveOptions{})
	whole, err := dumped(good, s, metadata.DumpOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range metadatatest.Damages() {
		bad := good.Clone()
		if _, ok, err := d.Apply(bad, 5); !ok || err != nil {
			continue
		}
		root, err := metadata.ReadSuperblock(bad)
		if err != nil {
			continue
		}
		text, err := dumped(bad, root, metadata.DumpOptions{})
		kind, where, _ := strings.Cut(d.Name, "/")
		inTree := where == "device's mapping tree" || where == "mapping tree's top level" || where == "details"
		if err == nil && inTree && !strings.HasPrefix(kind, "under-full") {
			t.Errorf("%s: got no error; the XML is unchanged: %v", d.Name, text == whole)
		}
		if err != nil && !inTree && (d.Leak || where == "data" || strings.HasSuffix(where, "bitmap")) {
			t.Errorf("%s: %v", d.Name, err)
		}
	}
}

type fullDisk struct{ free int }

var errFull = errors.New("no space left")

func (f *fullDisk) Write(b []byte) (int, error) {
	if f.free -= len(b); f.free < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestDumpStops(t *testing.T) {
	m, s := image(t, metadatatest.Rich(7), metadatatest.SaveOptions{})
	for _, free := range []int{0, 200, 1 << 20} {
		err := metadata.Dump(context.Background(), &fullDisk{free}, m, s, metadata.DumpOptions{})
		if !errors.Is(err, errFull) {
			t.Errorf("with %d bytes free: got %v, want errFull", free, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := metadata.Dump(ctx, io.Discard, m, s, metadata.DumpOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled before the call: got %v, want context.Canceled", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	w := writerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil })
	if err := metadata.Dump(ctx, w, m, s, metadata.DumpOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled while writing: got %v, want context.Canceled", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func FuzzDump(f *testing.F) {
	good := make([]*metadatatest.Image, 4)
	for i := range good {
		m, _, err := metadatatest.Random(uint64(i) + 3).Image(metadatatest.SaveOptions{})
		if err != nil {
			f.Fatal(err)
		}
		good[i] = m
	}
	f.Add(uint8(0), []byte{})
	f.Add(uint8(1), []byte{1, 16, 0, 255, 1, 17, 0, 255})
	f.Add(uint8(2), []byte{2, 32, 0, 255, 3, 4, 0, 1})
	f.Add(uint8(3), []byte{0, 64, 1, 3, 0, 72, 1, 3})
	f.Fuzz(func(t *testing.T, which uint8, patches []byte) {
		m := good[int(which)%len(good)].Clone()
		blocks := len(m.Bytes) / int(metadata.BlockSize)
		for ; len(patches) >= 4; patches = patches[4:] {
			block := m.Bytes[int(patches[0])%blocks*int(metadata.BlockSize):][:metadata.BlockSize]
			kind := metadata.KindOf(block)
			block[(int(patches[1])|int(patches[2])<<8)%len(block)] = patches[3]
			metadata.SetChecksum(block, kind)
		}
		root, err := metadata.ReadSuperblock(m)
		if err != nil {
			return
		}
		text, err := dumped(m, root, metadata.DumpOptions{})
		if err == nil && !strings.HasSuffix(text, "</superblock>\n") {
			t.Errorf("got no error, and the XML ends with %q", text[max(0, len(text)-50):])
		}
	})
}

func BenchmarkDump(b *testing.B) {
	for _, run := range []uint64{1, 30} {
		b.Run(fmt.Sprintf("run=%d", run), func(b *testing.B) {
			m := &metadatatest.Image{}
			large := metadatatest.Large{Seed: 1, Families: 10, Devices: 10, Mappings: 100000, Changes: 100, Run: run}
			s, err := large.Save(m, nil)
			if err != nil {
				b.Fatal(err)
			}
			var n int64
			b.ReportAllocs()
			for b.Loop() {
				n = 0
				w := writerFunc(func(b []byte) (int, error) { n += int64(len(b)); return len(b), nil })
				if err := metadata.Dump(context.Background(), w, bytes.NewReader(m.Bytes), s, metadata.DumpOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(n)
			b.ReportMetric(10e6*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mmappings/s")
		})
	}
}
