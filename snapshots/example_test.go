package snapshots_test

import (
	"context"
	"fmt"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/internal/testkit/snapshotstest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/units"
)

// A layer is unpacked and committed, and a container starts from it. Each is a thin volume.
func Example() {
	// The host is in memory, so that the example runs without root. For the machine, see
	// the example of package thinpool, and use filesystem.Local.
	test := &thinpooltest.Example{}
	defer test.Close()
	memory := snapshotstest.New(test)

	ctx := context.Background()
	pool, err := thinpool.Create(ctx, memory.Host(), memory.Root, "vault", thinpool.CreateOptions{
		DataSize: 100 * units.GiB, BaseSize: 10 * units.GiB, Reserve: &thinpool.Reserve{},
	})
	must(err)
	s, err := snapshots.New(pool, memory.Files, snapshots.Options{})
	must(err)
	defer s.Close()

	mounts, err := s.Prepare(ctx, "unpack", "")
	must(err)
	fmt.Println("mount", mounts[0].Type)
	// The caller mounts it, unpacks the layer, and unmounts it.
	must(s.Commit(ctx, "layer", "unpack"))
	_, err = s.Prepare(ctx, "container", "layer")
	must(err)

	must(s.Walk(ctx, func(_ context.Context, info core.Info) error {
		fmt.Printf("%s %q, parent %q\n", info.Kind, info.Name, info.Parent)
		return nil
	}))
	fmt.Println(s.Remove(ctx, "layer"))
	// Output:
	// mount ext4
	// Active "container", parent "layer"
	// Committed "layer", parent ""
	// remove snapshot "layer": not possible: cannot remove it, since "container" is made on it
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
