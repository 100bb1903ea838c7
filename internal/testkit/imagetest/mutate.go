package imagetest

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Mutate makes n random changes below root, the same changes in equal trees. The changes
// are those of programs in a container: create, write, append, delete, rename, link,
// change modes and owners, replace directories by files.
func Mutate(root string, seed uint64, n int) error {
	m := mutation{root: root, seed: seed, random: rand.New(rand.NewPCG(seed, 0x6d7574617465))}
	err := filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		if err != nil || full == root {
			return err
		}
		name := strings.TrimPrefix(full, root+"/")
		if name == "lost+found" {
			return fs.SkipDir
		}
		if d.IsDir() {
			m.dirs = append(m.dirs, name)
		} else {
			m.files = append(m.files, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(m.dirs)
	slices.Sort(m.files)
	for i := range n {
		if err := m.change(i); err != nil {
			return fmt.Errorf("change %d: %w", i, err)
		}
	}
	return nil
}

type mutation struct {
	root        string
	seed        uint64
	random      *rand.Rand
	files, dirs []string // the present names, in an order that depends on the seed alone
}

func (m *mutation) at(name string) string { return filepath.Join(m.root, name) }

// take chooses a file and removes it from the list.
func (m *mutation) take() string {
	i := m.random.IntN(len(m.files))
	name := m.files[i]
	m.files = slices.Delete(m.files, i, i+1)
	return name
}

func (m *mutation) pick() string { return m.files[m.random.IntN(len(m.files))] }

func (m *mutation) place(n int) string {
	dir := ""
	if len(m.dirs) > 0 {
		dir = m.dirs[m.random.IntN(len(m.dirs))]
	}
	return filepath.Join(dir, fmt.Sprintf("changed-%d-%04d", m.seed, n))
}

func (m *mutation) change(n int) error {
	action := m.random.IntN(12)
	if len(m.files) < 4 {
		action = 0
	}
	switch action {
	case 0, 1:
		name := m.place(n)
		m.files = append(m.files, name)
		return m.write(name, os.O_CREATE|os.O_EXCL)
	case 2:
		name := m.place(n)
		m.dirs = append(m.dirs, name)
		return os.Mkdir(m.at(name), 0o751)
	case 3, 4:
		return os.Remove(m.at(m.take()))
	case 5:
		from, to := m.take(), m.place(n)
		m.files = append(m.files, to)
		return os.Rename(m.at(from), m.at(to))
	case 6:
		from, to := m.pick(), m.place(n)
		m.files = append(m.files, to)
		return os.Link(m.at(from), m.at(to))
	case 7:
		name := m.place(n)
		m.files = append(m.files, name)
		return os.Symlink("somewhere/else", m.at(name))
	case 8:
		return m.onFile(func(name string) error { return os.Chmod(m.at(name), fs.FileMode(0o600+m.random.IntN(0o177))) })
	case 9:
		return os.Lchown(m.at(m.pick()), m.random.IntN(2000), m.random.IntN(2000))
	case 10:
		return m.removeDir()
	default:
		return m.onFile(func(name string) error { return m.write(name, os.O_APPEND) })
	}
}

// onFile calls a function for the chosen file if it is regular.
func (m *mutation) onFile(do func(name string) error) error {
	name := m.pick()
	info, err := os.Lstat(m.at(name))
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	return do(name)
}

func (m *mutation) write(name string, flags int) error {
	f, err := os.OpenFile(m.at(name), os.O_WRONLY|flags, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, Content{Kind: Random, Size: 1 + m.random.Int64N(20_000), Seed: m.random.Uint64()}.open())
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// removeDir removes a directory with its contents. Every other time it creates a file in
// its place.
func (m *mutation) removeDir() error {
	if len(m.dirs) < 2 {
		return nil
	}
	i := m.random.IntN(len(m.dirs))
	dir := m.dirs[i]
	inside := func(name string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }
	held := 0
	for _, name := range slices.Concat(m.files, m.dirs) {
		if inside(name) {
			held++
		}
	}
	if held > 40 { // keep most of the tree for later changes
		return os.Chtimes(m.at(dir), time.Time{}, epoch)
	}
	m.files = slices.DeleteFunc(m.files, inside)
	m.dirs = slices.DeleteFunc(m.dirs, inside)
	if err := os.RemoveAll(m.at(dir)); err != nil || m.random.IntN(2) == 0 {
		return err
	}
	m.files = append(m.files, dir)
	return m.write(dir, os.O_CREATE|os.O_EXCL)
}
