package main

import (
	"context"
	"errors"
	"fmt"

	"thinctl/dm"
	"thinctl/fault"
)

// dmsetup runs one process for each step and keeps no database, as a script does.
type dmsetup struct{ *rawPool }

func newDmsetup(ctx context.Context, f fixture) (peer, error) {
	pool, err := newRawPool(ctx, f, "dmsetup")
	return &dmsetup{pool}, err
}

func (d *dmsetup) name() string { return "dmsetup" }

func (d *dmsetup) sendMessage(ctx context.Context, message string) error {
	return command(ctx, "dmsetup", "message", string(d.device), "0", message)
}

func (d *dmsetup) create(ctx context.Context, volume string) error {
	if err := d.sendMessage(ctx, fmt.Sprintf("create_thin %d", d.newID(volume))); err != nil {
		return err
	}
	return d.sendMessage(ctx, d.step())
}

func (d *dmsetup) snapshot(ctx context.Context, volume string) error {
	id := d.newID(volume)
	origin := string(d.node("origin"))
	if err := command(ctx, "dmsetup", "suspend", origin); err != nil {
		return err
	}
	err := d.sendMessage(ctx, fmt.Sprintf("create_snap %d %d", id, originID))
	if err := errors.Join(err, command(ctx, "dmsetup", "resume", origin)); err != nil {
		return err
	}
	if err := d.sendMessage(ctx, d.step()); err != nil {
		return err
	}
	return command(ctx, "dmsetup", "create", string(d.node(volume)), "--table", d.table(id).Line().String())
}

func (d *dmsetup) remove(ctx context.Context, volume string) error {
	// The library is asked whether it is active, which costs next to nothing: a script
	// would keep that in a variable.
	_, err := d.kernel.Info(ctx, dm.ByName(d.node(volume)))
	if err == nil {
		err = command(ctx, "dmsetup", "remove", string(d.node(volume)))
	}
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	return d.sendMessage(ctx, fmt.Sprintf("delete %d", d.ids[volume]))
}
