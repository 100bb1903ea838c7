package metadata_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/thinpool/metadata"
)

// examplePool returns the metadata of a pool with a device (1) of four blocks, and a
// snapshot of it (2) with one block written again and one added. In a program it is a
// [metadata.File] of OpenOffline.
func examplePool() (*metadatatest.Image, metadata.Superblock) {
	pool := metadatatest.New(1)
	pool.Create(1)
	pool.Write(1, 0, 4)
	pool.Snapshot(2, 1)
	pool.Write(2, 1, 1)
	pool.Write(2, 8, 1)
	image, root, err := pool.Image(metadatatest.SaveOptions{})
	if err != nil {
		log.Fatal(err)
	}
	return image, root
}

// Check finds that the space map does not match the mappings, and Repair writes sound
// metadata to another device.
func ExampleCheck() {
	ctx := context.Background()
	image, root := examplePool()
	for _, damage := range metadatatest.Damages() {
		if damage.Name == "leak/data" {
			if _, _, err := damage.Apply(image, 1); err != nil {
				log.Fatal(err)
			}
		}
	}
	report, err := metadata.Check(ctx, image, metadata.CheckOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, finding := range report.Findings {
		fmt.Println(finding)
	}

	target := &metadatatest.Image{}
	repaired, err := metadata.Repair(ctx, image, target, metadata.RepairOptions{Blocks: root.MetadataSpaceMap.Blocks})
	if err != nil {
		log.Fatal(err)
	}
	for _, device := range repaired.Devices {
		fmt.Printf("device %d: %d mappings kept, %d lost\n", device.ID, device.Kept, device.Lost)
	}
	// Output:
	// leak: data-leak: data block 60 is used 0 times and counted 1 times
	// device 1: 4 mappings kept, 0 lost
	// device 2: 5 mappings kept, 0 lost
}

// Scan reads all mappings once. Its result shows the space that each device takes, and the
// space that deleting devices frees.
func ExampleScan() {
	ctx := context.Background()
	image, root := examplePool()
	m, err := metadata.Scan(ctx, image, root, metadata.ScanOptions{})
	if err != nil {
		log.Fatal(err)
	}
	usage := m.Usage()
	for _, device := range usage.Devices {
		fmt.Printf("device %d: %d mapped, %d exclusive, %d shared\n", device.ID, device.Mapped, device.Exclusive,
			device.Shared)
	}
	freed, err := m.Freed(ctx, 1, 2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d of %d blocks become free without both devices\n", freed, usage.Used)
	// Output:
	// device 1: 4 mapped, 1 exclusive, 3 shared
	// device 2: 5 mapped, 2 exclusive, 3 shared
	// 6 of 6 blocks become free without both devices
}

// Delta shows the virtual blocks in which a snapshot differs from its origin.
func ExampleDelta() {
	image, root := examplePool()
	err := metadata.Delta(context.Background(), image, root, 1, 2, metadata.DeltaOptions{Same: true},
		func(d metadata.Difference) error {
			fmt.Printf("virtual block %d, length %d: %v\n", d.Virtual, d.Blocks, d.Kind)
			return nil
		})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// virtual block 0, length 1: same
	// virtual block 1, length 1: different
	// virtual block 2, length 2: same
	// virtual block 8, length 1: right_only
}

// Dump writes the XML of thin_dump, here of one device.
func ExampleDump() {
	image, root := examplePool()
	o := metadata.DumpOptions{Devices: []uint32{2}}
	if err := metadata.Dump(context.Background(), os.Stdout, image, root, o); err != nil {
		log.Fatal(err)
	}
	// Output:
	// <superblock uuid="" time="1" transaction="2" flags="0" version="2" data_block_size="128" nr_data_blocks="106">
	//   <device dev_id="2" mapped_blocks="5" transaction="1" creation_time="1" snap_time="1">
	//     <single_mapping origin_block="0" data_block="0" time="0"/>
	//     <single_mapping origin_block="1" data_block="4" time="1"/>
	//     <range_mapping origin_begin="2" data_begin="2" length="2" time="0"/>
	//     <single_mapping origin_block="8" data_block="5" time="1"/>
	//   </device>
	// </superblock>
}
