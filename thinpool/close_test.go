package thinpool_test

import (
	"testing"

	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
)

// TestCloseAfterDestroy checks that Close succeeds after Destroy, although a removal has
// records that are not written yet.
func TestCloseAfterDestroy(t *testing.T) {
	f, ctx := thinpooltest.New(t), t.Context()
	pool, err := thinpool.Create(ctx, f.Host(), f.Root, "vault", thinpooltest.SmallPool())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.CreateVolume(ctx, "base", thinpool.VolumeOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.RemoveVolume(ctx, "base", thinpool.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := pool.Destroy(ctx); err != nil {
		t.Fatal(err)
	}
	if err := pool.Close(ctx); err != nil {
		t.Error(err)
	}
}
