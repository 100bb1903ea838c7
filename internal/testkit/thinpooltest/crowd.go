package thinpooltest

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"thinctl/thinpool"
)

// Crowd is a number of clients of one process that share a ledger.
type Crowd struct {
	Pool   *thinpool.Pool
	Blocks Blocks
	Ledger *Ledger
	First  int // the first client's number
	Number int
	Steps  int // of each client; 0 until ctx ends
	Seed   uint64
	// Grows: the first client extends the pool too.
	Grows bool
	// Journal, if set, is called with each act as [Client.Note] is.
	Journal func(act Act, done bool) error

	mu sync.Mutex
}

// Run runs the clients to their end, or until one of them fails.
func (c *Crowd) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	clients := make([]*Client, c.Number)
	for i := range clients {
		clients[i] = c.client(c.First + i)
	}
	faults := make([]error, c.Number)
	var all sync.WaitGroup
	for i, client := range clients {
		all.Go(func() {
			for n := 0; (c.Steps == 0 || n < c.Steps) && ctx.Err() == nil; n++ {
				if faults[i] = client.Step(ctx); faults[i] != nil {
					cancel()
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(faults...)
}

func (c *Crowd) client(id int) *Client {
	client := &Client{ID: id, Pool: c.Pool, Blocks: c.Blocks, Note: c.note, Account: c.account,
		Random: rand.New(rand.NewPCG(c.Seed, uint64(id))), Grows: c.Grows && id == c.First}
	for _, name := range slices.Sorted(maps.Keys(c.Ledger.Volumes)) {
		if c.Ledger.Volumes[name].Client == id && name != Golden {
			client.Own = append(client.Own, name)
		}
	}
	return client
}

func (c *Crowd) note(act Act, done bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if done {
		c.Ledger.Done(act)
	} else {
		c.Ledger.Begin(act)
	}
	if c.Journal != nil {
		return c.Journal(act, done)
	}
	return nil
}

// account returns a volume's account. Only its own client changes it, and no client the
// golden one, so it does not change while the caller uses it.
func (c *Crowd) account(name string) Account {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Ledger.Volumes[name]
}

// goldenActs make the golden volume.
func goldenActs() []Act {
	acts := []Act{{Client: goldenClient, Op: ActCreate, Volume: Golden, Size: clientSize}}
	for block := range uint64(3) {
		acts = append(acts, Act{Client: goldenClient, Op: ActWrite, Volume: Golden, Block: block, Value: 1000 + block})
	}
	return acts
}

const goldenClient = -1

// NewGoldenLedger returns a ledger with the acts of MakeGolden.
func NewGoldenLedger() *Ledger {
	ledger := NewLedger()
	for _, act := range goldenActs() {
		ledger.Done(act)
	}
	return ledger
}

// MakeGolden makes the golden volume.
func MakeGolden(ctx context.Context, pool *thinpool.Pool, blocks Blocks) error {
	if _, err := pool.CreateVolume(ctx, Golden, thinpool.VolumeOptions{Size: clientSize}); err != nil {
		return err
	}
	volume, err := pool.ActivateVolume(ctx, Golden)
	if err != nil {
		return err
	}
	for _, act := range goldenActs()[1:] {
		if err := blocks.Write(volume, act.Block, act.Value); err != nil {
			return err
		}
	}
	return nil
}
