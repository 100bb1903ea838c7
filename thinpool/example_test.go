package thinpool_test

import (
	"context"
	"fmt"

	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/units"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// A volume of 1 TiB in a pool of 100 GiB gets a snapshot. Usage tells which blocks only one
// of the two has.
func Example() {
	// The host is in memory, so that the example runs without root. For the machine, use
	// a Host of dm.Open, loopback.New and LocalDisks, and the directory [thinpool.Root].
	test := &thinpooltest.Example{}
	defer test.Close()
	memory := thinpooltest.New(test)
	host, root := memory.Host(), memory.Root

	ctx := context.Background()
	pool, err := thinpool.Create(ctx, host, root, "vault", thinpool.CreateOptions{
		DataSize: 100 * units.GiB, Reserve: &thinpool.Reserve{},
	})
	must(err)
	_, err = pool.CreateVolume(ctx, "base", thinpool.VolumeOptions{Size: units.TiB})
	must(err)
	volume, err := pool.ActivateVolume(ctx, "base")
	must(err)
	must(memory.Kernel.Write(volume.Dev, 0, 64*units.MiB))

	_, err = pool.Snapshot(ctx, "base", "copy", thinpool.SnapshotOptions{})
	must(err)
	snapshot, err := pool.ActivateVolume(ctx, "copy")
	must(err)
	must(memory.Kernel.Write(snapshot.Dev, 0, 16*units.MiB))

	usage, err := pool.Usage(ctx, thinpool.UsageOptions{})
	must(err)
	fmt.Println("used", usage.Used, "of", usage.Total)
	for _, v := range usage.Volumes {
		fmt.Println(v.Name, v.Exclusive, "alone,", v.Shared, "shared")
	}
	// Output:
	// used 80M of 100G
	// base 16M alone, 48M shared
	// copy 16M alone, 48M shared
}

// Extend makes the pool larger while its volumes are in use.
func ExamplePool_Extend() {
	test := &thinpooltest.Example{}
	defer test.Close()
	memory := thinpooltest.New(test)

	ctx := context.Background()
	pool, err := thinpool.Create(ctx, memory.Host(), memory.Root, "vault", thinpool.CreateOptions{
		DataSize: 100 * units.GiB, Reserve: &thinpool.Reserve{},
	})
	must(err)
	extension, err := pool.Extend(ctx, thinpool.ExtendOptions{Data: 150 * units.GiB})
	must(err)
	status, err := pool.Status(ctx)
	must(err)
	fmt.Println(extension.DataFrom, "to", status.Data.Total)
	// Output: 100G to 150G
}
