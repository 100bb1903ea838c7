package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// restore writes metadata with these empty thin devices to a file or device that is not in
// use. Making them by messages takes a commit for each: most of an hour for all the pools.
func (f fixture) restore(ctx context.Context, path string, tx uint64, ids []uint32) error {
	xml, err := os.Create(filepath.Join(f.dir, "restore.xml"))
	if err != nil {
		return err
	}
	w := bufio.NewWriter(xml)
	fmt.Fprintf(w, `<superblock uuid="" time="0" transaction="%d" version="2" data_block_size="%d" nr_data_blocks="%d">`+
		"\n",
		tx, uint64(blockSize.Sectors()), uint64(dataSize/blockSize))
	for _, id := range ids {
		fmt.Fprintf(w, `<device dev_id="%d" mapped_blocks="0" transaction="0" creation_time="0" snap_time="0"></device>`+
			"\n", id)
	}
	fmt.Fprintln(w, `</superblock>`)
	if err := w.Flush(); err != nil {
		return err
	}
	if err := xml.Close(); err != nil {
		return err
	}
	return command(ctx, "thin_restore", "-i", xml.Name(), "-o", path)
}
