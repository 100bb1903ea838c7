package metadata_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/internal/testkit/need"
	"thinctl/thinpool/metadata"
)

// A scan of random pools, live and held, has the usage, freed blocks and owners of the
// model, and a check has no findings.
func TestScanAgreesWithModel(t *testing.T) {
	each(t, 1000, func(seed uint64, _ string) error {
		p := metadatatest.Random(seed)
		image, live, err := p.Image(metadatatest.SaveOptions{Shuffle: seed%2 == 0})
		if err != nil {
			return err
		}
		if err := checkUsage(image, live, p.Live(), seed); err != nil {
			return err
		}
		if state, ok := p.Held(); ok {
			held, err := metadata.HeldRoot(image, live.HeldRoot)
			if err != nil {
				return err
			}
			if err := checkUsage(image, held, state, seed); err != nil {
				return fmt.Errorf("held root: %w", err)
			}
		}
		report, err := metadata.Check(context.Background(), image,
			metadata.CheckOptions{Blocks: live.MetadataSpaceMap.Blocks})
		if err == nil && len(report.Findings) > 0 {
			err = fmt.Errorf("check of sound metadata: got findings %v, want none", report.Findings)
		}
		return err
	})
}

// checkUsage compares all results of a scan with the model.
func checkUsage(image *metadatatest.Image, root metadata.Superblock, state metadatatest.State, seed uint64) error {
	ctx, r := context.Background(), rand.New(rand.NewPCG(seed, 9))
	m, err := metadata.Scan(ctx, image, root, metadata.ScanOptions{Workers: 1 + int(seed%3)})
	if err != nil {
		return err
	}
	u := m.Usage()
	got := map[uint32]metadatatest.Usage{}
	for _, d := range u.Devices {
		got[d.ID] = metadatatest.Usage{Mapped: d.Mapped, Exclusive: d.Exclusive, Shared: d.Shared}
	}
	if diff := cmp.Diff(state.Usage(), got); diff != "" {
		return fmt.Errorf("usage (-model +got):\n%s", diff)
	}
	if used := state.Used(); u.Used != used || u.Exclusive+u.Shared != used {
		return fmt.Errorf("got %d blocks used, %d exclusive, %d shared; want %d used", u.Used, u.Exclusive, u.Shared, used)
	}
	var some []uint32
	for _, id := range state.IDs() {
		if r.IntN(2) == 0 {
			some = append(some, id)
		}
	}
	freed, err := m.Freed(ctx, some...)
	if err != nil {
		return err
	}
	want := state.Freed(some...)
	if freed != want {
		return fmt.Errorf("scan, without devices %v: got %d blocks freed, want %d", some, freed, want)
	}
	counted, err := metadata.Freed(ctx, image, root, some...)
	if held := root.Block != 0 || root.HeldRoot != 0; held {
		if err == nil {
			return errors.New("got no error from Freed with a held root")
		}
	} else if err != nil {
		return err
	} else if counted != want {
		return fmt.Errorf("without devices %v: got %d blocks freed, want %d", some, counted, want)
	}
	return checkOwners(m, state, r)
}

// checkOwners compares the owners of the data blocks of a random range with the mappings
// of the model.
func checkOwners(m *metadata.Map, state metadatatest.State, r *rand.Rand) error {
	begin := r.Uint64N(2000)
	end := begin + r.Uint64N(500)
	type owner struct {
		Data, Virtual uint64
		Device, Time  uint32
	}
	var want, got []owner
	for _, id := range state.IDs() {
		state.Each(id, func(m metadata.Mapping) {
			if m.Data >= begin && m.Data < end {
				want = append(want, owner{m.Data, m.Virtual, id, m.Time})
			}
		})
	}
	err := m.Owners(context.Background(), begin, end, func(o metadata.Owner) error {
		for i := range o.Blocks {
			got = append(got, owner{o.Data + i, o.Virtual + i, o.Device, o.Time})
		}
		return nil
	})
	if err != nil {
		return err
	}
	less := func(a, b owner) int {
		return strings.Compare(fmt.Sprintf("%9d %9d", a.Data, a.Device), fmt.Sprintf("%9d %9d", b.Data, b.Device))
	}
	slices.SortFunc(want, less)
	slices.SortFunc(got, less)
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("owners of blocks %d to %d (-model +got):\n%s", begin, end, diff)
	}
	return nil
}

// A scan has the usage that thin_ls prints, live and held, and the owners that
// thin_rmap prints for a copy without sharing.
func TestScanAgreesWithTools(t *testing.T) {
	need.Program(t, "thin_ls")
	each(t, 90, func(seed uint64, dir string) error {
		p := metadatatest.Random(seed)
		image, live, err := p.Image(metadatatest.SaveOptions{})
		if err != nil {
			return err
		}
		path := filepath.Join(dir, "meta")
		if err := os.WriteFile(path, image.Bytes, 0o600); err != nil {
			return err
		}
		if err := thinLs(image, live, path); err != nil {
			return err
		}
		if live.HeldRoot != 0 {
			held, err := metadata.HeldRoot(image, live.HeldRoot)
			if err != nil {
				return err
			}
			if err := thinLs(image, held, path, "-m"); err != nil {
				return fmt.Errorf("held root: %w", err)
			}
		}
		if seed%2 == 0 && live.HeldRoot == 0 {
			return thinRmap(dir, path)
		}
		return nil
	})
}

func thinLs(image *metadatatest.Image, root metadata.Superblock, path string, flags ...string) error {
	out, err := thin("thin_ls",
		append(flags, "--no-headers", "-o", "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS", path)...)
	if err != nil {
		return err
	}
	m, err := metadata.Scan(context.Background(), image, root, metadata.ScanOptions{})
	if err != nil {
		return err
	}
	var want, got [][4]uint64
	for line := range strings.Lines(out) {
		var row [4]uint64
		if _, err := fmt.Sscan(line, &row[0], &row[1], &row[2], &row[3]); err != nil {
			return fmt.Errorf("thin_ls printed %q: %w", line, err)
		}
		want = append(want, row)
	}
	for _, d := range m.Usage().Devices {
		got = append(got, [4]uint64{uint64(d.ID), d.Mapped, d.Exclusive, d.Shared})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("id, mapped, exclusive, shared (-thin_ls +got):\n%s", diff)
	}
	return nil
}

// thinRmap compares the owners in a copy in which devices share no leaf.
func thinRmap(dir, path string) error {
	text, copied := filepath.Join(dir, "xml"), filepath.Join(dir, "copy")
	if _, err := thin("thin_dump", "-o", text, path); err != nil {
		return err
	}
	if err := os.WriteFile(copied, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(copied, 32<<20); err != nil {
		return err
	}
	if _, err := thin("thin_restore", "-i", text, "-o", copied); err != nil {
		return err
	}
	out, err := thin("thin_rmap", "--region", "0..100000", copied)
	if err != nil {
		return err
	}
	type run struct{ data, device, virtual uint64 }
	var want, got []run
	for line := range strings.Lines(out) {
		var begin, end, device, first, last uint64
		if _, err := fmt.Sscanf(line, "data %d..%d -> thin(%d) %d..%d", &begin, &end, &device, &first, &last); err != nil {
			return fmt.Errorf("thin_rmap printed %q: %w", line, err)
		}
		for i := range end - begin {
			want = append(want, run{begin + i, device, first + i})
		}
	}
	file, err := metadata.Open(copied)
	if err != nil {
		return err
	}
	defer file.Close()
	root, err := metadata.ReadSuperblock(file)
	if err != nil {
		return err
	}
	m, err := metadata.Scan(context.Background(), file, root, metadata.ScanOptions{})
	if err != nil {
		return err
	}
	err = m.Owners(context.Background(), 0, 100000, func(o metadata.Owner) error {
		for i := range o.Blocks {
			got = append(got, run{o.Data + i, uint64(o.Device), o.Virtual + i})
		}
		return nil
	})
	if err != nil {
		return err
	}
	less := func(a, b run) int {
		return strings.Compare(fmt.Sprintf("%9d %9d %9d", a.data, a.device, a.virtual),
			fmt.Sprintf("%9d %9d %9d", b.data, b.device, b.virtual))
	}
	slices.SortFunc(want, less)
	slices.SortFunc(got, less)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(run{})); diff != "" {
		return fmt.Errorf("owners (-thin_rmap +got):\n%s", diff)
	}
	return nil
}
