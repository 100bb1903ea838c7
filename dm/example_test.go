package dm_test

import (
	"context"
	"fmt"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/internal/testkit/dmtest"
	"thinctl/units"
)

var (
	metadataDisk = blockdev.Number{Major: 7, Minor: 0}
	dataDisk     = blockdev.Number{Major: 7, Minor: 1}
)

// openMemory returns a kernel in memory with two disks, so that the examples run without
// root. For the kernel of the host, use dm.Open(dm.Options{}).
func openMemory() dm.Kernel {
	kernel := dmtest.New(dmtest.Options{})
	must(kernel.AddDisk(metadataDisk, dmtest.NewMemDisk(4*units.MiB)))
	must(kernel.AddDisk(dataDisk, dmtest.NewMemDisk(units.GiB)))
	return kernel
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// activateExample creates a device, loads its table and resumes it.
func activateExample(ctx context.Context, kernel dm.Kernel, name dm.Name, target dm.Target) dm.Info {
	_, err := kernel.Create(ctx, name, dm.UUID("EXAMPLE-"+name))
	must(err)
	must(kernel.Load(ctx, dm.ByName(name), []dm.Target{target}, dm.LoadOptions{}))
	info, err := kernel.Resume(ctx, dm.ByName(name), dm.ResumeOptions{})
	must(err)
	return info
}

// A linear device maps 1 MiB of a disk.
func Example() {
	ctx, kernel := context.Background(), openMemory()
	_, err := kernel.Create(ctx, "vault", "VAULT-1")
	must(err)
	table := []dm.Target{dm.Linear{Length: units.MiB.Sectors(), Dev: dataDisk}}
	must(kernel.Load(ctx, dm.ByName("vault"), table, dm.LoadOptions{}))
	info, err := kernel.Resume(ctx, dm.ByName("vault"), dm.ResumeOptions{})
	must(err)

	lines, err := kernel.Table(ctx, dm.ByName("vault"))
	must(err)
	fmt.Println(info.Name.Node(), lines[0])
	_, err = kernel.Remove(ctx, dm.ByName("vault"), dm.RemoveOptions{})
	fmt.Println("removed:", err)
	// Output:
	// /dev/mapper/vault 0 2048 linear 7:1 0
	// removed: <nil>
}

// A pool gets a thin volume. The snapshot is taken while the volume is suspended.
func Example_thinPool() {
	ctx, kernel := context.Background(), openMemory()
	pool := activateExample(ctx, kernel, "pool", dm.ThinPool{
		Length: units.GiB.Sectors(), Metadata: metadataDisk, Data: dataDisk, Block: dm.MinBlock.Sectors(),
	})
	_, err := kernel.Message(ctx, dm.ByDev(pool.Dev), "create_thin 1")
	must(err)
	activateExample(ctx, kernel, "volume", dm.Thin{Length: (10 * units.GiB).Sectors(), Pool: pool.Dev, ID: 1})

	must(kernel.Suspend(ctx, dm.ByName("volume"), dm.SuspendOptions{}))
	_, err = kernel.Message(ctx, dm.ByDev(pool.Dev), "create_snap 2 1")
	must(err)
	_, err = kernel.Resume(ctx, dm.ByName("volume"), dm.ResumeOptions{})
	must(err)

	_, lines, err := kernel.Status(ctx, dm.ByName("pool"), dm.StatusOptions{})
	must(err)
	status, err := dm.ParsePoolStatus(lines[0])
	must(err)
	fmt.Println(status.Mode, status.UsedData, "of", status.TotalData, "data blocks")
	// Output: rw 0 of 16384 data blocks
}

// NewName accepts names that the kernel needs in mangled form.
func ExampleNewName() {
	name, err := dm.NewName("two words")
	fmt.Println(name, name.Node(), err)
	_, err = dm.NewName("a/b")
	fmt.Println(err)
	// Output:
	// two words /dev/mapper/two\x20words <nil>
	// device name "a/b" contains a slash
}

func ExampleParsePoolStatus() {
	status, err := dm.ParsePoolStatus(dm.Line{
		Length: 2048, Type: dm.TypeThinPool,
		Params: "5 12/1024 160/160 - out_of_data_space discard_passdown queue_if_no_space - 256",
	})
	fmt.Println(status.Mode, status.FreeData(), status.FreeMetadata(), err)
	// Output: out_of_data_space 0 1012 <nil>
}
