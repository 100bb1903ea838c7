package thinpool_test

import (
	"os"
	"path/filepath"
	"testing"

	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
)

func TestDestroyRemovesFilesOfLayers(t *testing.T) {
	f := thinpooltest.New(t)
	pool, err := thinpool.Create(t.Context(), f.Host(), f.Root, "p", thinpooltest.SmallPool())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(pool.LayersDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(pool.LayersDir(), "one"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pool.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(f.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		if entry.IsDir() {
			t.Errorf("%s is left", entry.Name())
		}
	}
}
