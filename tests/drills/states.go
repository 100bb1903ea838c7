package drills

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Place is a pool that is brought into a state: the inactive pool vault on files, of 64M
// and 4M, with the volume a.
type Place struct {
	Root string
	// Thinctl runs a command line that must succeed.
	Thinctl func(line string) error
}

func (p Place) file(name string) string { return filepath.Join(p.Root, "vault", name) }

// State is a state of a pool's directory that only a fault, an accident or an operator's
// copy can leave.
type State struct {
	Name  string
	Bring func(Place) error
	// Want is the outcome that the printed remedies lead to.
	Want Outcome
	// Volumes are the names of the volumes that must then exist.
	Volumes []string
	// Pool is the pool's name then; "" is vault.
	Pool string
}

// States returns the states that remedies must lead out of.
func States() []State {
	a := []string{"a"}
	recovered := []string{"recovered-1"}
	return []State{
		{"nothing is wrong", func(Place) error { return nil }, Sound, a, ""},
		{"database older", func(p Place) error { return p.older("state.db", add("b"), add("c")) }, Sound,
			[]string{"a", "recovered-2", "recovered-3"}, ""},
		{"database older, a volume removed since", func(p Place) error {
			return p.older("state.db", add("b"), "volume remove vault a --yes")
		}, Sound, []string{"recovered-2"}, ""},
		{"database older than an extension",
			func(p Place) error { return p.older("state.db", "pool extend vault --data 128M") }, Sound, a, ""},
		{"database older, active", func(p Place) error {
			return p.older("state.db", add("b"), "pool deactivate vault", "pool activate vault")
		}, Sound, []string{"a", "recovered-2"}, ""},
		{"database gone", func(p Place) error { return p.remove("state.db") }, Sound, a, ""},
		{"database gone, its copy older", func(p Place) error {
			return errors.Join(p.older("state.db.gz", add("b")), p.remove("state.db"))
		}, Sound, []string{"a", "recovered-2"}, ""},
		{"database and copy gone", func(p Place) error { return p.remove("state.db", "state.db.gz") }, Sound, recovered, ""},
		{"database damaged", func(p Place) error { return p.damage("state.db") }, Sound, a, ""},
		{"database cut short", func(p Place) error { return os.Truncate(p.file("state.db"), 5000) }, Sound, a, ""},
		{"database damaged, copy gone",
			func(p Place) error { return errors.Join(p.damage("state.db"), p.remove("state.db.gz")) }, Sound, recovered, ""},
		{"database gone, copy damaged",
			func(p Place) error { return errors.Join(p.damage("state.db.gz"), p.remove("state.db")) }, Sound, recovered, ""},
		{"database gone, active", func(p Place) error {
			return errors.Join(p.Thinctl("pool activate vault"), p.remove("state.db"))
		}, Sound, a, ""},
		{"database and copy gone, volume active", func(p Place) error {
			return errors.Join(p.Thinctl("pool activate vault"), p.Thinctl("volume activate vault a"),
				p.remove("state.db", "state.db.gz"))
		}, Sound, a, ""},
		{"metadata older", func(p Place) error { return p.older("metadata", add("b"), add("c")) }, Sound, a, ""},
		{"metadata older than an extension",
			func(p Place) error { return p.older("metadata", "pool extend vault --data 128M") }, Sound, a, ""},
		{"metadata gone", func(p Place) error { return p.remove("metadata") }, Lost, nil, ""},
		{"metadata blank", func(p Place) error {
			return errors.Join(os.Truncate(p.file("metadata"), 0), os.Truncate(p.file("metadata"), 4<<20))
		}, Lost, nil, ""},
		{"superblock damaged", func(p Place) error { return p.damage("metadata") }, Lost, nil, ""},
		{"metadata of another pool", Place.swap, Lost, nil, ""},
		{"data gone", func(p Place) error { return p.remove("data") }, Lost, nil, ""},
		{"data cut short", func(p Place) error { return os.Truncate(p.file("data"), 32<<20) }, Sound, a, ""},
		{"database and metadata gone", func(p Place) error { return p.remove("state.db", "state.db.gz", "metadata") }, Lost,
			nil, ""},
		{"database and data gone", func(p Place) error { return p.remove("state.db", "state.db.gz", "data") }, Lost, nil, ""},
		{"directory under another name", func(p Place) error {
			return os.Rename(filepath.Join(p.Root, "vault"), filepath.Join(p.Root, "moved"))
		}, Sound, a, "moved"},
		{"only the pool's own files restored", func(p Place) error { return p.remove("mnt", "lock") }, Sound, a, ""},
		{"a repair was cut off", func(p Place) error { return os.Rename(p.file("metadata"), p.file("metadata.rebuilt")) },
			Sound, a, ""},
		{"a repair was cut off, database gone", func(p Place) error {
			return errors.Join(os.Rename(p.file("metadata"), p.file("metadata.rebuilt")), p.remove("state.db", "state.db.gz"))
		}, Sound, recovered, ""},
	}
}

func add(volume string) string { return "volume create vault " + volume + " --size 16M" }

// older gives a file its contents from before commands that change the pool.
func (p Place) older(name string, lines ...string) error {
	was, err := os.ReadFile(p.file(name))
	if err != nil {
		return err
	}
	lines = append([]string{"pool activate vault"}, lines...)
	if last := lines[len(lines)-1]; last != "pool activate vault" {
		lines = append(lines, "pool deactivate vault")
	}
	for _, line := range lines {
		if err := p.Thinctl(line); err != nil {
			return err
		}
	}
	return errors.Join(os.Remove(p.file(name)), os.WriteFile(p.file(name), was, 0o600))
}

func (p Place) remove(names ...string) error {
	for _, name := range names {
		if err := os.RemoveAll(p.file(name)); err != nil {
			return err
		}
	}
	return nil
}

// damage overwrites the first 8 KiB of a file.
func (p Place) damage(name string) error {
	file, err := os.OpenFile(p.file(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 8<<10)
	n, err := file.ReadAt(b, 0)
	if n == 0 {
		return errors.Join(err, file.Close())
	}
	for i := 64; i < n; i++ {
		b[i] ^= 0x5a
	}
	_, err = file.WriteAt(b[:n], 0)
	return errors.Join(err, file.Close())
}

// swap replaces vault's metadata by those of another pool.
func (p Place) swap() error {
	for _, line := range []string{"pool create other --data-size 64M --metadata-size 4M", "pool deactivate other"} {
		if err := p.Thinctl(line); err != nil {
			return err
		}
	}
	metadata, err := os.ReadFile(filepath.Join(p.Root, "other", "metadata"))
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(p.file("metadata")), os.WriteFile(p.file("metadata"), metadata, 0o600),
		p.Thinctl("pool destroy other --yes"))
}

// Prepare makes the pool that states begin with.
func (p Place) Prepare() error {
	for _, line := range []string{"pool create vault --data-size 64M --metadata-size 4M", add("a"),
		"pool deactivate vault"} {
		if err := p.Thinctl(line); err != nil {
			return fmt.Errorf("preparing: %w", err)
		}
	}
	return nil
}
