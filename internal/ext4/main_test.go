package ext4

import (
	"os"
	"testing"
)

// TestMain puts the images into memory if possible: the tests write hundreds of them.
func TestMain(m *testing.M) {
	if dir, err := os.MkdirTemp("/dev/shm", "ext4-test-"); err == nil {
		os.Setenv("TMPDIR", dir)
		code := m.Run()
		os.RemoveAll(dir)
		os.Exit(code)
	}
	os.Exit(m.Run())
}
