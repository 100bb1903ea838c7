package changes

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNextData reads two files of 300 GB with little data. Holes of both files must be
// skipped.
func TestNextData(t *testing.T) {
	const size = 300 << 30
	dir := t.TempDir()
	open := func(name string, size int64, at ...int64) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		for _, offset := range at {
			if _, err := f.WriteAt([]byte("x"), offset); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Ftruncate(int(f.Fd()), size); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		name         string
		lower, upper *os.File
		from, want   int64
	}{
		{"data in the lower one", open("a", size, 1<<30), open("b", size), 0, 1 << 30},
		{"data in the upper one", open("c", size), open("d", size, 2<<30), 0, 2 << 30},
		{"the nearer of both", open("e", size, 4<<30), open("f", size, 3<<30), 0, 3 << 30},
		{"within data", open("g", size, 0), open("h", size), 100, 100},
		{"nothing left", open("i", size, 0), open("j", size), 1 << 20, size - 1},
		{"nothing left in the shorter", open("k", size, 0), open("l", size-5), 1 << 20, size - 6},
		{"empty", open("m", 0), open("n", 0), 0, 0},
	} {
		got, err := nextData([sides]*os.File{c.lower, c.upper}, c.from)
		if err != nil || got != c.want {
			t.Errorf("%s: got %d, %v, want %d", c.name, got, err, c.want)
		}
	}
}
