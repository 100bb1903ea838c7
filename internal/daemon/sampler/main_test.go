package sampler_test

import (
	"os"
	"testing"
)

// TestMain puts the temporary directories on a tmpfs if there is one.
func TestMain(m *testing.M) {
	if dir, err := os.MkdirTemp("/dev/shm", "sampler-test-"); err == nil {
		os.Setenv("TMPDIR", dir)
		code := m.Run()
		os.RemoveAll(dir)
		os.Exit(code)
	}
	os.Exit(m.Run())
}
