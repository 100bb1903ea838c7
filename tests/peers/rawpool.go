package main

import (
	"context"
	"errors"
	"fmt"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/loopback"
)

// rawPool is a thin pool without a database: the floor and dmsetup drive one each.
type rawPool struct {
	fixture
	device   dm.Name
	dev      blockdev.Number
	metadata loopback.Device
	data     loopback.Device
	next     uint32 // device id
	tx       uint64
	ids      map[string]uint32
}

const originID = 1

func newRawPool(ctx context.Context, f fixture, name string) (*rawPool, error) {
	p := &rawPool{fixture: f, device: dm.Name("peers-" + name), next: originID + 1, ids: map[string]uint32{}}
	var err error
	if p.metadata, err = f.loop(ctx, name+".metadata", metadataSize, true); err != nil {
		return nil, err
	}
	if p.data, err = f.loop(ctx, name+".data", dataSize, false); err != nil {
		return nil, err
	}
	return p, p.start(ctx)
}

// start makes the pool and the volume of which snapshots are taken.
func (p *rawPool) start(ctx context.Context) error {
	table := dm.ThinPool{
		Length: dataSize.Sectors(), Block: blockSize.Sectors(),
		Metadata: blockdev.Number(p.metadata.Number), Data: blockdev.Number(p.data.Number),
	}
	var err error
	if p.dev, err = p.bringUp(ctx, p.device, table); err != nil {
		return err
	}
	if err := p.message(ctx, "create_thin %d", originID); err != nil && !errors.Is(err, fault.Exists) {
		return err
	}
	_, err = p.bringUp(ctx, p.node("origin"), p.table(originID))
	return err
}

func (p *rawPool) bringUp(ctx context.Context, name dm.Name, table dm.Target) (blockdev.Number, error) {
	info, err := p.kernel.Create(ctx, name, "")
	if err == nil {
		err = p.kernel.Load(ctx, dm.ByName(name), []dm.Target{table}, dm.LoadOptions{})
	}
	if err == nil {
		_, err = p.kernel.Resume(ctx, dm.ByName(name), dm.ResumeOptions{})
	}
	return info.Dev, err
}

func (p *rawPool) node(volume string) dm.Name { return p.device + "-" + dm.Name(volume) }

func (p *rawPool) table(id uint32) dm.Thin {
	return dm.Thin{Length: volumeSize.Sectors(), Pool: p.dev, ID: id}
}

func (p *rawPool) message(ctx context.Context, format string, args ...any) error {
	_, err := p.kernel.Message(ctx, dm.ByName(p.device), fmt.Sprintf(format, args...))
	return err
}

func (p *rawPool) fill(ctx context.Context, volumes int) error {
	for _, device := range []dm.Name{p.node("origin"), p.device} {
		if _, err := p.kernel.Remove(ctx, dm.ByName(device), dm.RemoveOptions{}); err != nil {
			return err
		}
	}
	var ids []uint32
	for id := uint32(originID); id <= originID+uint32(volumes); id++ {
		ids = append(ids, id)
	}
	p.next = max(p.next, originID+uint32(volumes)+1)
	if err := p.restore(ctx, p.metadata.Path, p.tx, ids); err != nil {
		return err
	}
	return p.start(ctx)
}

func (p *rawPool) newID(volume string) uint32 {
	id := p.next
	p.next++
	p.ids[volume] = id
	return id
}

// step returns the arguments of the next set_transaction_id.
func (p *rawPool) step() string {
	p.tx++
	return fmt.Sprintf("set_transaction_id %d %d", p.tx-1, p.tx)
}
