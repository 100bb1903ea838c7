package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"thinctl/thinpool/metadata"
)

// operations are the operations of thinctl, by name.
var operations = map[string]func(context.Context, *metadata.File, metadata.Superblock) error{
	"raw": raw,
	"usage": func(ctx context.Context, f *metadata.File, s metadata.Superblock) error {
		m, err := metadata.Scan(ctx, f, s, metadata.ScanOptions{})
		if err != nil {
			return err
		}
		w := bufio.NewWriter(os.Stdout)
		for _, d := range m.Usage().Devices {
			fmt.Fprintln(w, d.ID, d.Mapped, d.Exclusive, d.Shared)
		}
		return w.Flush()
	},
	"check": func(ctx context.Context, f *metadata.File, s metadata.Superblock) error {
		report, err := metadata.Check(ctx, f, metadata.CheckOptions{})
		if err == nil && len(report.Findings) > 0 {
			err = fmt.Errorf("check of sound metadata: findings %v", report.Findings)
		}
		return err
	},
	"dump": func(ctx context.Context, f *metadata.File, s metadata.Superblock) error {
		return metadata.Dump(ctx, os.Stdout, f, s, metadata.DumpOptions{})
	},
	"delta": func(ctx context.Context, f *metadata.File, s metadata.Superblock) error {
		w := bufio.NewWriter(os.Stdout)
		err := metadata.Delta(ctx, f, s, 0, 1, metadata.DeltaOptions{}, func(d metadata.Difference) error {
			_, err := fmt.Fprintln(w, d.Kind, d.Virtual, d.Blocks, d.Left, d.Right)
			return err
		})
		return errors.Join(err, w.Flush())
	},
	"owners": func(ctx context.Context, f *metadata.File, s metadata.Superblock) error {
		m, err := metadata.Scan(ctx, f, s, metadata.ScanOptions{})
		if err != nil {
			return err
		}
		w := bufio.NewWriter(os.Stdout)
		err = m.Owners(ctx, 0, 1000, func(o metadata.Owner) error {
			_, err := fmt.Fprintln(w, o.Data, o.Blocks, o.Device, o.Virtual)
			return err
		})
		return errors.Join(err, w.Flush())
	},
}

func operate(ctx context.Context, op, path string) error {
	do, ok := operations[op]
	if !ok {
		return fmt.Errorf("unknown operation %s", op)
	}
	f, err := metadata.Open(path)
	if err != nil {
		return err
	}
	s, err := metadata.ReadSuperblock(f)
	if err == nil {
		err = do(ctx, f, s)
	}
	return errors.Join(err, f.Close())
}

// raw reads as many bytes as are in use, 1 MiB in one read and eight reads at a time, and
// checks nothing.
func raw(ctx context.Context, f *metadata.File, s metadata.Superblock) error {
	const size = 1 << 20
	end := int64(s.MetadataSpaceMap.Allocated) * int64(metadata.BlockSize)
	var mu sync.Mutex
	var faults []error
	next := int64(0)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			b := metadata.Aligned(size)
			for ctx.Err() == nil {
				mu.Lock()
				at := next
				next += size
				mu.Unlock()
				if at >= end {
					return
				}
				if _, err := f.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
					mu.Lock()
					faults = append(faults, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(faults...)
}
