package newfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"thinctl/fault"
	"thinctl/internal/newfile"
)

// TestCreate checks that a file appears with Commit, that Close removes one that was not committed,
// and that an existing path is replaced only if forced.
func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write := func(force, commit bool) error {
		file, err := newfile.Create(path, force)
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := file.WriteString(map[bool]string{true: "new", false: "old"}[force]); err != nil {
			return err
		}
		if !commit {
			return nil
		}
		return file.Commit()
	}
	for _, test := range []struct {
		name          string
		force, commit bool
		kind          fault.Kind
		want          string
	}{
		{"not committed", false, false, fault.Unknown, ""},
		{"committed", false, true, fault.Unknown, "old"},
		{"exists", false, true, fault.Exists, "old"},
		{"forced, not committed", true, false, fault.Unknown, "old"},
		{"forced", true, true, fault.Unknown, "new"},
	} {
		err := write(test.force, test.commit)
		if got := fault.KindOf(err); got != test.kind {
			t.Errorf("%s: got %v, want kind %v", test.name, err, test.kind)
		}
		got, _ := os.ReadFile(path)
		if string(got) != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) > 1 {
			t.Errorf("%s: got entries %v (%v), want at most the file", test.name, entries, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := write(true, true); fault.KindOf(err) != fault.Exists {
		t.Errorf("a directory: got %v, want kind %v", err, fault.Exists)
	}
}
