package snapshots_test

import (
	"os"
	"testing"
)

// TestMain puts the files of the fixtures into memory if it can: the tests make thousands of them, and nothing needs
// to be written to the host's disk.
func TestMain(m *testing.M) {
	if dir, err := os.MkdirTemp("/dev/shm", "containerd-test-"); err == nil {
		os.Setenv("TMPDIR", dir)
		code := m.Run()
		os.RemoveAll(dir)
		os.Exit(code)
	}
	os.Exit(m.Run())
}
