package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/loopback"
	"thinctl/tests/programs"
	"thinctl/units"
)

const (
	floorData  = 20 * units.GiB
	floorMeta  = units.GiB
	floorBlock = 64 * units.KiB
	floorSize  = 10 * units.GiB
	floorTop   = 1 // the device id of which all others are copies
	recordSize = 4096
	slots      = 64 // of the file of records
)

// floor is the work that no snapshotter can avoid; see doc.go. All devices are copies of
// one empty ext4: it has no chains.
type floor struct {
	title  string
	pool   dm.Name
	kernel devices
	loops  *loopback.Control
	dev    blockdev.Number
	record *os.File
	files  []loopback.Device
	slot   atomic.Int64
	ids    sync.Map // device name -> id

	mu   sync.Mutex // held while messages are sent to the pool
	next uint32
	tx   uint64
}

func newFloor(ctx context.Context, title, dir string, kernel devices) (*floor, error) {
	f := &floor{title: title, kernel: kernel, next: floorTop,
		pool: "peers-" + dm.Name(strings.ReplaceAll(title, ", ", "-"))}
	var err error
	f.loops = loopback.New(loopback.Options{})
	for _, part := range []struct {
		name string
		size units.Bytes
	}{{"metadata", floorMeta}, {"data", floorData}} {
		path := filepath.Join(dir, string(f.pool)+"."+part.name)
		if err := loopback.CreateSparse(path, part.size, loopback.FileOptions{}); err != nil {
			return nil, err
		}
		loop, err := f.loops.Attach(ctx, path, loopback.AttachOptions{})
		if err != nil {
			return nil, err
		}
		f.files = append(f.files, loop)
	}
	if f.record, err = os.Create(filepath.Join(dir, string(f.pool)+".db")); err != nil {
		return nil, err
	}
	for range slots {
		if err := f.commit(); err != nil {
			return nil, err
		}
	}
	pool := dm.ThinPool{Length: floorData.Sectors(), Metadata: blockdev.Number(f.files[0].Number),
		Data:  blockdev.Number(f.files[1].Number),
		Block: floorBlock.Sectors(), LowWater: 32768}
	if f.dev, err = f.kernel.bringUp(ctx, f.pool, pool, false); err != nil {
		return nil, err
	}
	return f, f.format(ctx)
}

// format makes the file system of which all devices are copies.
func (f *floor) format(ctx context.Context) error {
	if err := f.message(ctx, fmt.Sprintf("create_thin %d", floorTop)); err != nil {
		return err
	}
	dev, err := f.kernel.bringUp(ctx, f.pool+"-top", dm.Thin{Length: floorSize.Sectors(), Pool: f.dev, ID: floorTop},
		false)
	if err != nil {
		return err
	}
	node := fmt.Sprintf("/dev/dm-%d", dev.Minor)
	if _, err := programs.Run(ctx, "mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1",
		node); err != nil {
		return err
	}
	return f.put(ctx, f.pool+"-top")
}

// put removes a device as soon as udev has closed it.
func (f *floor) put(ctx context.Context, name dm.Name) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		err := f.kernel.remove(ctx, name)
		if !errors.Is(err, fault.Busy) && !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}

func (f *floor) name() string { return f.title }

func (f *floor) grow(context.Context, int) (string, error) { return "", nil }

func (f *floor) message(ctx context.Context, text string) error {
	return f.kernel.message(ctx, f.pool, text)
}

// commit makes one record durable.
func (f *floor) commit() error {
	_, err := f.record.WriteAt(make([]byte, recordSize), f.slot.Add(1)%slots*recordSize)
	return errors.Join(err, f.record.Sync())
}

func (f *floor) snapshot(ctx context.Context, name dm.Name, readOnly bool) error {
	err := f.commit()
	if err != nil {
		return err
	}
	id, err := f.thin(ctx)
	if err != nil {
		return err
	}
	f.ids.Store(name, id)
	_, err = f.kernel.bringUp(ctx, name, dm.Thin{Length: floorSize.Sectors(), Pool: f.dev, ID: id}, readOnly)
	return err
}

// thin makes a copy.
func (f *floor) thin(ctx context.Context) (uint32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	if err := f.message(ctx, fmt.Sprintf("create_snap %d %d", f.next, floorTop)); err != nil {
		return 0, err
	}
	f.tx++
	return f.next, f.message(ctx, fmt.Sprintf("set_transaction_id %d %d", f.tx-1, f.tx))
}

func (f *floor) remove(ctx context.Context, name dm.Name, active bool) error {
	id, _ := f.ids.LoadAndDelete(name)
	if active {
		if err := f.put(ctx, name); err != nil {
			return err
		}
	}
	if err := f.commit(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.message(ctx, fmt.Sprintf("delete %d", id))
}

func (f *floor) collect(context.Context) error { return nil }

func (f *floor) do(ctx context.Context, operation, client, _ string) error {
	name := f.pool + "-" + dm.Name(client)
	look := name + "-view"
	switch operation {
	case prepare:
		return f.snapshot(ctx, name, false)
	case mounts:
		return f.kernel.info(ctx, name)
	case usage:
		return f.kernel.status(ctx, name)
	case commit:
		return errors.Join(f.put(ctx, name), f.commit())
	case view:
		return f.snapshot(ctx, look, true)
	case removeView:
		return f.remove(ctx, look, true)
	case remove:
		return f.remove(ctx, name, false)
	}
	return fmt.Errorf("the floor has no operation %s", operation)
}

func (f *floor) close(ctx context.Context) error {
	err := f.put(ctx, f.pool)
	for _, loop := range f.files {
		err = errors.Join(err, f.loops.Detach(ctx, loop))
	}
	return errors.Join(err, f.record.Close(), f.loops.Close(), f.kernel.close())
}
