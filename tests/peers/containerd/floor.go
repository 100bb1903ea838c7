package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/units"
)

const (
	floorName  = "floor"
	floorData  = 20 * units.GiB
	floorMeta  = units.GiB
	floorBlock = 64 * units.KiB
	floorSize  = 10 * units.GiB
	floorTop   = 1 // the device id that all are copies of
)

// floor is what no snapshotter can do without: the kernel's messages and devices,
// and one fsync of a record of 4 KiB for each transaction. It knows no chains.
type floor struct {
	kernel *dm.Control
	loops  *loopback.Control
	dev    dm.Dev
	record *os.File
	names  []loopback.Device

	mu   sync.Mutex // of the pool's messages, as any pool has one
	next uint32
	tx   uint64
	ids  sync.Map // device name -> id
}

func newFloor(ctx context.Context, dir string) (*floor, error) {
	f := &floor{next: floorTop + 1}
	var err error
	if f.kernel, err = dm.Open(dm.Options{}); err != nil {
		return nil, err
	}
	f.loops = loopback.New(loopback.Options{})
	for _, part := range []struct {
		name string
		size units.Bytes
	}{{"metadata", floorMeta}, {"data", floorData}} {
		path := filepath.Join(dir, "floor."+part.name)
		if err := loopback.CreateSparse(path, part.size, loopback.FileOptions{}); err != nil {
			return nil, err
		}
		loop, err := f.loops.Attach(ctx, path, loopback.AttachOptions{})
		if err != nil {
			return nil, err
		}
		f.names = append(f.names, loop)
	}
	if f.record, err = os.Create(filepath.Join(dir, "floor.db")); err != nil {
		return nil, err
	}
	pool := dm.ThinPool{Length: floorData.Sectors(), Metadata: dm.Dev(f.names[0].Number), Data: dm.Dev(f.names[1].Number),
		Block: floorBlock.Sectors(), LowWater: 32768}
	if f.dev, err = f.bringUp(ctx, "peers-floor", pool, false); err != nil {
		return nil, err
	}
	return f, f.message(ctx, fmt.Sprintf("create_thin %d", floorTop))
}

func (f *floor) name() string { return floorName }

func (f *floor) grow(context.Context, int) (string, error) { return "", nil }

func (f *floor) bringUp(ctx context.Context, name dm.Name, table dm.Target, readOnly bool) (dm.Dev, error) {
	info, err := f.kernel.Create(ctx, name, "")
	if err == nil {
		err = f.kernel.Load(ctx, dm.ByName(name), []dm.Target{table}, dm.LoadOptions{ReadOnly: readOnly})
	}
	if err == nil {
		_, err = f.kernel.Resume(ctx, dm.ByName(name), dm.ResumeOptions{})
	}
	return info.Dev, err
}

func (f *floor) message(ctx context.Context, text string) error {
	_, err := f.kernel.Message(ctx, dm.ByName("peers-floor"), text)
	return err
}

// commit is one record made durable.
func (f *floor) commit() error {
	_, err := f.record.WriteAt(make([]byte, 4096), 0)
	return errors.Join(err, f.record.Sync())
}

func (f *floor) snapshot(ctx context.Context, name dm.Name, readOnly bool) error {
	f.mu.Lock()
	id := f.next
	f.next++
	err := f.commit()
	if err == nil {
		err = f.message(ctx, fmt.Sprintf("create_snap %d %d", id, floorTop))
	}
	if err == nil {
		err = f.message(ctx, fmt.Sprintf("set_transaction_id %d %d", f.tx, f.tx+1))
		f.tx++
	}
	f.mu.Unlock()
	if err != nil {
		return err
	}
	f.ids.Store(name, id)
	_, err = f.bringUp(ctx, name, dm.Thin{Length: floorSize.Sectors(), Pool: f.dev, ID: id}, readOnly)
	return err
}

func (f *floor) remove(ctx context.Context, name dm.Name, active bool) error {
	id, _ := f.ids.LoadAndDelete(name)
	if active {
		if _, err := f.kernel.Remove(ctx, dm.ByName(name), dm.RemoveOptions{}); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.commit(), f.message(ctx, fmt.Sprintf("delete %d", id)))
}

func (f *floor) do(ctx context.Context, operation, client, _ string) error {
	name, view := dm.Name("peers-floor-"+client), dm.Name("peers-floor-"+client+"-view")
	switch operation {
	case "Prepare":
		return f.snapshot(ctx, name, false)
	case "Mounts":
		_, err := f.kernel.Info(ctx, dm.ByName(name))
		return err
	case "Usage":
		_, _, err := f.kernel.Status(ctx, dm.ByName(name), dm.StatusOptions{NoFlush: true})
		return err
	case "Commit":
		_, err := f.kernel.Remove(ctx, dm.ByName(name), dm.RemoveOptions{})
		f.mu.Lock()
		defer f.mu.Unlock()
		return errors.Join(err, f.commit())
	case "View":
		return f.snapshot(ctx, view, true)
	case "Remove a view":
		return f.remove(ctx, view, true)
	case "Remove":
		return f.remove(ctx, name, false)
	}
	return fmt.Errorf("the floor knows no %s", operation)
}

func (f *floor) close(ctx context.Context) error {
	_, err := f.kernel.Remove(ctx, dm.ByName("peers-floor"), dm.RemoveOptions{})
	for _, loop := range f.names {
		err = errors.Join(err, f.loops.Detach(ctx, loop))
	}
	return errors.Join(err, f.record.Close(), f.loops.Close(), f.kernel.Close())
}
