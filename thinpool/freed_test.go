package thinpool_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// TestFreed compares Freed, which reads the last commit, with Usage, which reads all of the
// metadata: for each set of volumes, on the active and on the inactive pool.
func TestFreed(t *testing.T) {
	f := newFixture(t)
	release := f.shared()
	volumes := []string{"base", "web", "third"}
	_, err := f.vault.Snapshot(t.Context(), "web", "third", thinpool.SnapshotOptions{})
	check(t, err)
	compare := func(when string) {
		t.Helper()
		for set := range 1 << len(volumes) {
			var names []string
			for i, name := range volumes {
				if set>>i&1 != 0 {
					names = append(names, name)
				}
			}
			usage, err := f.vault.Usage(t.Context(), thinpool.UsageOptions{Freed: names})
			check(t, err)
			freed, err := f.vault.Freed(t.Context(), names...)
			if err != nil || freed != usage.Freed {
				t.Errorf("%s: Freed(%q): got %s, %v; want %s as Usage", when, names, freed, err, usage.Freed)
			}
		}
	}
	compare("active")
	freed, err := f.vault.Freed(t.Context(), "base")
	if err != nil || freed != 1*block {
		t.Errorf("Freed(base): got %s, %v; want %s", freed, err, units.Bytes(1*block))
	}
	_, err = f.vault.Freed(t.Context(), "base", "none")
	wantError(t, err, []error{fault.NotFound}, "vault/none")
	f.clean()
	release()
	check(t, f.vault.Deactivate(t.Context()))
	compare("inactive")
}

// watched calls read before each metadata block except the superblock is read.
type watched struct {
	thinpool.Disks
	read func()
}

type watchedFile struct {
	thinpool.MetadataFile
	read func()
}

func (d watched) Metadata(path string, offline bool) (thinpool.MetadataFile, error) {
	file, err := d.Disks.Metadata(path, offline)
	return watchedFile{file, d.read}, err
}

func (f watchedFile) ReadAt(p []byte, off int64) (int, error) {
	if off != 0 {
		f.read()
	}
	return f.MetadataFile.ReadAt(p, off)
}

// TestFreedWhileThePoolCommits checks that Freed reads again if the pool commits in the
// meantime, and reads a metadata snapshot if the pool keeps committing.
func TestFreedWhileThePoolCommits(t *testing.T) {
	const much = 1 << 20
	for _, c := range []struct {
		name    string
		commits int64 // the number of reads that a commit precedes
	}{{"never", 0}, {"once", 1}, {"twice", 2}, {"always", much}} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			for b := range uint64(5) {
				check(t, f.Kernel.WriteStamp(f.base.Dev, b, 1))
			}
			var left, next, reads atomic.Int64
			left.Store(c.commits)
			f.host.Disks = watched{f.host.Disks, func() {
				reads.Add(1)
				if left.Add(-1) < 0 || next.Load() > 50 {
					return
				}
				check(t, f.Kernel.WriteStamp(f.base.Dev, uint64(10+next.Add(1)), 1))
				_, _, err := f.Kernel.Status(t.Context(), dm.ByName("thinctl-vault"), dm.StatusOptions{})
				check(t, err)
			}}
			vault, err := thinpool.Open(t.Context(), f.host, filepath.Dir(f.vault.Dir()), "vault")
			check(t, err)
			defer func() { check(t, vault.Close(context.WithoutCancel(t.Context()))) }()
			freed, err := vault.Freed(t.Context(), "base")
			check(t, err)
			least := units.Bytes(5+c.commits) * block
			if c.commits == much {
				least = 6 * block
			}
			if freed < least || freed > units.Bytes(5+next.Load())*block {
				t.Errorf("got %s, want at least %s: 5 blocks and %d later ones were written", freed, least, next.Load())
			}
			f.clean()
			t.Logf("%d reads, %d commits", reads.Load(), next.Load())
		})
	}
}

func TestFreedRefused(t *testing.T) {
	f := newFixture(t)
	check(t, f.Kernel.WriteStamp(f.base.Dev, 1, 1))
	_, err := f.Kernel.Message(t.Context(), dm.ByName("thinctl-vault"), "reserve_metadata_snap")
	check(t, err)
	_, err = f.vault.Freed(t.Context(), "base")
	wantError(t, err, []error{thinpool.ErrHeldByOther})
	wantCure(t, err, thinpool.CureReleaseSnapshot)
	_, err = f.Kernel.Message(t.Context(), dm.ByName("thinctl-vault"), "release_metadata_snap")
	check(t, err)
	freed, err := f.vault.Freed(t.Context(), "base")
	if err != nil || freed < block {
		t.Errorf("got %s, %v; want at least %s", freed, err, units.Bytes(block))
	}
	f.Damage[f.file("metadata")] = func(number uint64, b []byte) {
		if number != 0 {
			b[100] ^= 1
		}
	}
	_, err = f.vault.Freed(t.Context(), "base")
	wantError(t, err, []error{metadata.ErrChecksum}, "vault")
	f.clean()
}
