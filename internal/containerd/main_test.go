package containerd_test

import (
	"os"
	"testing"
)

// TestMain puts the worlds into memory where that is possible: they are made by
// the thousand, and a power cut in them is not one of the host's.
func TestMain(m *testing.M) {
	if dir, err := os.MkdirTemp("/dev/shm", "containerd-test-"); err == nil {
		os.Setenv("TMPDIR", dir)
		code := m.Run()
		os.RemoveAll(dir)
		os.Exit(code)
	}
	os.Exit(m.Run())
}
