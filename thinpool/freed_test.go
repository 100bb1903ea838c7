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

// What comes back, asked of the last commit, is what the whole metadata says, of
// any volumes together and whether the pool is active or not.
func TestFreed(t *testing.T) {
	s := newStage(t)
	release := s.shared()
	volumes := []string{"base", "web", "third"}
	_, err := s.vault.Snapshot(t.Context(), "web", "third", thinpool.SnapshotOptions{})
	check(t, err)
	look := func(when string) {
		t.Helper()
		for set := range 1 << len(volumes) {
			var names []string
			for i, name := range volumes {
				if set>>i&1 != 0 {
					names = append(names, name)
				}
			}
			usage, err := s.vault.Usage(t.Context(), thinpool.UsageOptions{Freed: names})
			check(t, err)
			freed, err := s.vault.Freed(t.Context(), names...)
			if err != nil || freed != usage.Freed {
				t.Errorf("%s: %q give back %s, %v; all of the metadata says %s", when, names, freed, err, usage.Freed)
			}
		}
	}
	look("active")
	freed, err := s.vault.Freed(t.Context(), "base")
	if err != nil || freed != 1*block {
		t.Errorf("base alone gives back %s, %v", freed, err)
	}
	_, err = s.vault.Freed(t.Context(), "base", "none")
	says(t, err, []error{fault.NotFound}, "vault/none")
	s.clean()
	release()
	check(t, s.vault.Deactivate(t.Context()))
	look("inactive")
}

// watched calls with every metadata block but the first that is read.
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

// A pool that commits while its last commit is read is read again; one that
// goes on is read from a metadata snapshot; and one of another program's makes
// that impossible.
func TestFreedWhileThePoolCommits(t *testing.T) {
	const much = 1 << 20
	for _, c := range []struct {
		name    string
		commits int64 // so many reads are each followed by one
	}{{"never", 0}, {"once", 1}, {"twice", 2}, {"always", much}} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			for b := range uint64(5) {
				check(t, s.Kernel.WriteStamp(s.base.Dev, b, 1))
			}
			var left, next, reads atomic.Int64
			left.Store(c.commits)
			s.host.Disks = watched{s.host.Disks, func() {
				reads.Add(1)
				if left.Add(-1) < 0 || next.Load() > 50 {
					return
				}
				check(t, s.Kernel.WriteStamp(s.base.Dev, uint64(10+next.Add(1)), 1))
				_, _, err := s.Kernel.Status(t.Context(), dm.ByName("thinctl-vault"), dm.StatusOptions{})
				check(t, err)
			}}
			vault, err := thinpool.Open(t.Context(), s.host, filepath.Dir(s.vault.Dir()), "vault")
			check(t, err)
			defer func() { check(t, vault.Close(context.WithoutCancel(t.Context()))) }()
			freed, err := vault.Freed(t.Context(), "base")
			check(t, err)
			least := units.Bytes(5+c.commits) * block
			if c.commits == much {
				least = 6 * block
			}
			if freed < least || freed > units.Bytes(5+next.Load())*block {
				t.Errorf("%s come back; 5 blocks and %d later ones were written", freed, next.Load())
			}
			s.clean()
			t.Logf("%d reads, %d commits", reads.Load(), next.Load())
		})
	}
}

func TestFreedRefused(t *testing.T) {
	s := newStage(t)
	check(t, s.Kernel.WriteStamp(s.base.Dev, 1, 1))
	_, err := s.Kernel.Message(t.Context(), dm.ByName("thinctl-vault"), "reserve_metadata_snap")
	check(t, err)
	_, err = s.vault.Freed(t.Context(), "base")
	says(t, err, []error{thinpool.ErrHeldByOther}, "release_metadata_snap")
	_, err = s.Kernel.Message(t.Context(), dm.ByName("thinctl-vault"), "release_metadata_snap")
	check(t, err)
	freed, err := s.vault.Freed(t.Context(), "base")
	if err != nil || freed < block {
		t.Errorf("%s, %v", freed, err)
	}
	s.Damage[s.file("metadata")] = func(number uint64, b []byte) {
		if number != 0 {
			b[100] ^= 1
		}
	}
	_, err = s.vault.Freed(t.Context(), "base")
	says(t, err, []error{metadata.ErrChecksum}, "vault")
	s.clean()
}
