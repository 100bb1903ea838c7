package sampler_test

import (
	"os"
	"testing"
)

// TestMain puts the worlds into memory where that is possible.
func TestMain(m *testing.M) {
	if dir, err := os.MkdirTemp("/dev/shm", "sampler-test-"); err == nil {
		os.Setenv("TMPDIR", dir)
		code := m.Run()
		os.RemoveAll(dir)
		os.Exit(code)
	}
	os.Exit(m.Run())
}
