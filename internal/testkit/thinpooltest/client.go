package thinpooltest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"thinctl/thinpool"
	"thinctl/units"
)

// Golden is a volume that no client changes, and of which all clients may take snapshots.
const Golden = "golden"

// These bound what a client does, so that the pool does not become full.
const (
	clientVolumes = 6
	clientBlocks  = 16
	clientSize    = 16 * units.MiB
	clientGrown   = units.MiB
	clientLargest = 24 * units.MiB
)

// Client drives a pool as one of many callers: it makes, snapshots, writes, reads, grows
// and removes volumes of its own, one act at a time.
type Client struct {
	ID     int
	Pool   *thinpool.Pool
	Blocks Blocks
	Random *rand.Rand
	// Note is called with each act before the request and, with done, after the
	// acknowledgement. It keeps the ledger.
	Note func(act Act, done bool) error
	// Account returns the ledger's present account of a volume.
	Account func(name string) Account
	// Grows lets this client extend the pool. At most one client may.
	Grows bool

	// Own are the names of its volumes.
	Own  []string
	made int
}

// Step performs one random act.
func (c *Client) Step(ctx context.Context) error {
	name := ""
	if len(c.Own) > 0 {
		name = c.Own[c.Random.IntN(len(c.Own))]
	}
	pick := c.Random.IntN(100)
	mayAdd := len(c.Own) < clientVolumes
	switch {
	case c.Grows && pick < 4:
		return c.extend(ctx)
	case name == "" || mayAdd && pick < 14:
		return c.create(ctx)
	case mayAdd && pick < 28:
		return c.snapshot(ctx, name)
	case mayAdd && pick < 34:
		return c.snapshot(ctx, Golden)
	case !mayAdd && pick < 30 || pick < 40:
		return c.remove(ctx, name)
	case pick < 46:
		return c.resize(ctx, name)
	case pick < 52:
		return c.Pool.DeactivateVolume(ctx, name)
	case pick < 58:
		return c.list(ctx)
	case pick < 68:
		return c.read(ctx, name)
	}
	return c.write(ctx, name)
}

// do requests a change and notes it before and after.
func (c *Client) do(act Act, ask func() error) error {
	act.Client = c.ID
	if err := c.Note(act, false); err != nil {
		return err
	}
	if err := ask(); err != nil {
		return fmt.Errorf("client %d, %+v: %w", c.ID, act, err)
	}
	return c.Note(act, true)
}

func (c *Client) newName() string {
	for {
		c.made++
		name := fmt.Sprintf("c%d-%d", c.ID, c.made)
		if !slices.Contains(c.Own, name) {
			return name
		}
	}
}

func (c *Client) create(ctx context.Context) error {
	name := c.newName()
	err := c.do(Act{Op: ActCreate, Volume: name, Size: clientSize}, func() error {
		_, err := c.Pool.CreateVolume(ctx, name, thinpool.VolumeOptions{Size: clientSize})
		return err
	})
	c.Own = append(c.Own, name)
	return err
}

func (c *Client) snapshot(ctx context.Context, origin string) error {
	name := c.newName()
	err := c.do(Act{Op: ActSnapshot, Volume: name, Origin: origin, Size: c.Account(origin).Size}, func() error {
		_, err := c.Pool.Snapshot(ctx, origin, name, thinpool.SnapshotOptions{})
		return err
	})
	c.Own = append(c.Own, name)
	return err
}

func (c *Client) write(ctx context.Context, name string) error {
	volume, err := c.Pool.ActivateVolume(ctx, name)
	if err != nil {
		return fmt.Errorf("client %d: %w", c.ID, err)
	}
	block := c.Random.Uint64N(clientBlocks)
	value := uint64(c.ID+1)<<40 | c.Random.Uint64N(1<<40)
	return c.do(Act{Op: ActWrite, Volume: name, Block: block, Value: value}, func() error {
		return c.Blocks.Write(volume, block, value)
	})
}

func (c *Client) read(ctx context.Context, name string) error {
	volume, err := c.Pool.ActivateVolume(ctx, name)
	if err != nil {
		return fmt.Errorf("client %d: %w", c.ID, err)
	}
	for block, value := range c.Account(name).Blocks {
		if err := Expect(c.Blocks, volume, block, value); err != nil {
			return fmt.Errorf("client %d: %w", c.ID, err)
		}
	}
	return nil
}

func (c *Client) resize(ctx context.Context, name string) error {
	size := c.Account(name).Size + clientGrown
	if size > clientLargest {
		return nil
	}
	return c.do(Act{Op: ActResize, Volume: name, Size: size}, func() error {
		_, err := c.Pool.ResizeVolume(ctx, name, size)
		return err
	})
}

func (c *Client) remove(ctx context.Context, name string) error {
	err := c.do(Act{Op: ActRemove, Volume: name}, func() error {
		_, err := c.Pool.RemoveVolume(ctx, name, thinpool.RemoveOptions{})
		return err
	})
	c.Own = slices.DeleteFunc(c.Own, func(s string) bool { return s == name })
	return err
}

func (c *Client) extend(ctx context.Context) error {
	status, err := c.Pool.Status(ctx)
	if err != nil {
		return err
	}
	size := status.Data.Total + clientGrown
	return c.do(Act{Op: ActExtend, Size: size}, func() error {
		_, err := c.Pool.Extend(ctx, thinpool.ExtendOptions{Data: size, Metadata: status.Metadata.Total})
		return err
	})
}

// list requires that the pool lists exactly the client's volumes among the names with the
// client's prefix.
func (c *Client) list(ctx context.Context) error {
	volumes, err := c.Pool.Volumes(ctx)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, volume := range volumes {
		if strings.HasPrefix(volume.Name, fmt.Sprintf("c%d-", c.ID)) {
			seen[volume.Name] = true
		}
	}
	own := map[string]bool{}
	for _, name := range c.Own {
		own[name] = true
	}
	if !maps.Equal(seen, own) {
		return fmt.Errorf("client %d: got the list %v, want %v", c.ID, seen, own)
	}
	return nil
}
