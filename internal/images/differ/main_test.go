package differ

import (
	"os"
	"testing"
)

// TestMain puts the fixtures into memory if possible: the tests make thousands of them.
func TestMain(m *testing.M) {
	if dir, err := os.MkdirTemp("/dev/shm", "differ-test-"); err == nil {
		os.Setenv("TMPDIR", dir)
		code := m.Run()
		os.RemoveAll(dir)
		os.Exit(code)
	}
	os.Exit(m.Run())
}
