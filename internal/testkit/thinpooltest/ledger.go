package thinpooltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"thinctl/thinpool"
	"thinctl/units"
)

// The acts of a client.
const (
	ActCreate   = "create"
	ActSnapshot = "snapshot"
	ActWrite    = "write"
	ActResize   = "resize"
	ActRemove   = "remove"
	ActExtend   = "extend"
)

// Act is one change that a client requests from a pool.
type Act struct {
	Client int         `json:"client"`
	Op     string      `json:"op"`
	Volume string      `json:"volume,omitempty"`
	Origin string      `json:"origin,omitempty"`
	Size   units.Bytes `json:"size,omitempty"` // of a volume, or the pool's data
	Block  uint64      `json:"block,omitempty"`
	Value  uint64      `json:"value,omitempty"`
}

// Ledger holds the acknowledged changes of a pool's clients, which must be in the pool in
// any case. An act that is open was requested but not acknowledged: it may have happened.
type Ledger struct {
	Volumes map[string]Account `json:"volumes"`
	Data    units.Bytes        `json:"data"` // of the pool, at least
	Open    map[int]Act        `json:"open"` // by client
}

// Account holds the acknowledged state of a volume.
type Account struct {
	Client int               `json:"client"`
	Size   units.Bytes       `json:"size"`
	Blocks map[uint64]uint64 `json:"blocks"`
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{Volumes: map[string]Account{}, Open: map[int]Act{}} }

// Begin notes an act before the request.
func (l *Ledger) Begin(act Act) { l.Open[act.Client] = act }

// Undone notes that the client's open act did not happen.
func (l *Ledger) Undone(client int) { delete(l.Open, client) }

// Done notes an acknowledged act.
func (l *Ledger) Done(act Act) {
	delete(l.Open, act.Client)
	account := l.Volumes[act.Volume]
	switch act.Op {
	case ActCreate:
		l.Volumes[act.Volume] = Account{Client: act.Client, Size: act.Size, Blocks: map[uint64]uint64{}}
	case ActSnapshot:
		l.Volumes[act.Volume] = Account{Client: act.Client, Size: act.Size, Blocks: maps.Clone(l.Volumes[act.Origin].Blocks)}
	case ActWrite:
		account.Blocks[act.Block] = act.Value
	case ActResize:
		account.Size = act.Size
		l.Volumes[act.Volume] = account
	case ActRemove:
		delete(l.Volumes, act.Volume)
	case ActExtend:
		l.Data = max(l.Data, act.Size)
	}
}

// Add adds the volumes of another ledger.
func (l *Ledger) Add(other *Ledger) {
	maps.Copy(l.Volumes, other.Volumes)
	l.Data = max(l.Data, other.Data)
}

// Resolve finds out from the pool which of the open acts have happened, and closes them. It
// calls resolved with each. A torn write is written again.
func (l *Ledger) Resolve(ctx context.Context, pool *thinpool.Pool, blocks Blocks,
	resolved func(Act, bool) error,
) error {
	volumes, err := l.volumes(ctx, pool)
	if err != nil {
		return err
	}
	status, err := pool.Status(ctx)
	if err != nil {
		return err
	}
	for _, client := range slices.Sorted(maps.Keys(l.Open)) {
		act := l.Open[client]
		volume, there := volumes[act.Volume]
		done := false
		switch act.Op {
		case ActCreate, ActSnapshot:
			done = there
		case ActRemove:
			done = !there
		case ActResize:
			done = there && volume.Size == act.Size
		case ActExtend:
			done = status.Data.Total == act.Size
		case ActWrite:
			if done, err = l.resolveWrite(ctx, pool, blocks, act); err != nil {
				return fmt.Errorf("resolve the unacknowledged write %+v: %w", act, err)
			}
		}
		if err := resolved(act, done); err != nil {
			return err
		}
		if done {
			l.Done(act)
		} else {
			l.Undone(client)
		}
	}
	return nil
}

// resolveWrite reports whether an unacknowledged write has happened. Each sector must hold
// the old or the new value.
func (l *Ledger) resolveWrite(ctx context.Context, pool *thinpool.Pool, blocks Blocks, act Act) (bool, error) {
	volume, err := pool.ActivateVolume(ctx, act.Volume)
	if err != nil {
		return false, err
	}
	got, err := blocks.Read(volume, act.Block)
	if err != nil {
		return false, err
	}
	before := l.Volumes[act.Volume].Blocks[act.Block]
	for _, value := range got {
		if value != act.Value && value != before {
			return false, fmt.Errorf("got values %d, want %d or %d", got, before, act.Value)
		}
	}
	if len(got) > 1 {
		return true, blocks.Write(volume, act.Block, act.Value)
	}
	return got[0] == act.Value, nil
}

func (l *Ledger) volumes(ctx context.Context, pool *thinpool.Pool) (map[string]thinpool.Volume, error) {
	list, err := pool.Volumes(ctx)
	there := map[string]thinpool.Volume{}
	for _, volume := range list {
		if volume.For == "" { // the others belong to no client
			there[volume.Name] = volume
		}
	}
	return there, err
}

// Compare reads everything in the ledger from the pool: nothing may be lost, and nothing
// else may exist. No act may be open.
func (l *Ledger) Compare(ctx context.Context, pool *thinpool.Pool, blocks Blocks) error {
	there, err := l.volumes(ctx, pool)
	if err != nil {
		return err
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for client, act := range l.Open {
		fault("client %d: %+v is open", client, act)
	}
	for name := range there {
		if _, known := l.Volumes[name]; !known {
			fault("volume %s is in the pool but not in the ledger", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Volumes)) {
		account := l.Volumes[name]
		switch volume, ok := there[name]; {
		case !ok:
			fault("volume %s is lost", name)
			continue
		case volume.Size != account.Size:
			fault("volume %s: got size %s, want %s", name, volume.Size, account.Size)
		}
		volume, err := pool.ActivateVolume(ctx, name)
		if err != nil {
			fault("%w", err)
			continue
		}
		for block, value := range account.Blocks {
			if err := Expect(blocks, volume, block, value); err != nil {
				fault("%w", err)
			}
		}
	}
	status, err := pool.Status(ctx)
	if err == nil && l.Data != 0 && status.Data.Total != l.Data {
		fault("pool data: got size %s, want %s", status.Data.Total, l.Data)
	}
	return errors.Join(err, errors.Join(faults...))
}
