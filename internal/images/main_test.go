package images_test

import (
	"os"
	"testing"
)

// TestMain puts the fixtures on a tmpfs if there is one: there are hundreds of them.
func TestMain(m *testing.M) {
	if dir, err := os.MkdirTemp("/dev/shm", "images-test-"); err == nil {
		os.Setenv("TMPDIR", dir)
		code := m.Run()
		os.RemoveAll(dir)
		os.Exit(code)
	}
	os.Exit(m.Run())
}
