package poweroff

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots/filesystem"
	"thinctl/tests/crash"
	"thinctl/thinpool"
	"thinctl/units"
)

const (
	root        = "/var/lib/thinctl"
	poolName    = "power"
	journalDisk = "/dev/disk/by-id/virtio-disk0"
	// clients is the number of clients of volumes. Every other boot has only one, so that
	// images get their share.
	clients = 4
	// longest is the longest time that the load runs before the power is cut.
	longest = 4 * time.Second
	// cutNow is the line at which the host cuts the power.
	cutNow = "cut the power now"
)

// guest is one boot: it verifies the pool and then loads it until the power is cut. The
// last boot destroys the pool instead.
func guest(ctx context.Context, seed uint64, boot int, last bool) error {
	host, letGo, err := crash.OpenHost()
	if err != nil {
		return err
	}
	defer letGo()
	journal, records, err := openJournal(journalDisk)
	if err != nil {
		return err
	}
	if boot == 0 {
		if err := begin(ctx, host); err != nil {
			return err
		}
	}
	pool, err := thinpool.Open(ctx, host, root, poolName)
	if err != nil {
		return err
	}
	ledger := ledgerOf(records)
	client, err := newImageClient(ctx, host, records, journal)
	if err != nil {
		return err
	}
	if boot > 0 {
		began := time.Now()
		if err := verify(ctx, host, pool, ledger, client, journal); err != nil {
			return fmt.Errorf("boot %d does not have what was acknowledged before: %w", boot, err)
		}
		fmt.Printf("verified %d volumes, %d images after %d records in %s\n",
			len(ledger.Volumes), len(client.shelf.trees), len(records), time.Since(began).Round(time.Millisecond))
	}
	if last {
		return errors.Join(client.empty(ctx), pool.Destroy(ctx), crash.NothingLeft(ctx, root))
	}
	if boot == 0 {
		if err := client.first(ctx); err != nil {
			return err
		}
	}
	return load(ctx, pool, ledger, client, journal, seed, boot)
}

// begin makes the pool. The first boot's cut comes after it: cuts within Create are tested
// elsewhere.
func begin(ctx context.Context, host thinpool.Host) error {
	pool, err := thinpool.Create(ctx, host, root, poolName, thinpool.CreateOptions{
		DataSize: 128 * units.MiB, MetadataSize: 8 * units.MiB, BaseSize: 32 * units.MiB, Reserve: &thinpool.Reserve{}})
	if err != nil {
		return err
	}
	return thinpooltest.MakeGolden(ctx, pool, crash.Marks{})
}

func newImageClient(ctx context.Context, host thinpool.Host, records []record, journal *journal) (*imageClient, error) {
	loadable, err := crash.Images(ctx, layerSize)
	if err != nil {
		return nil, err
	}
	store, err := crash.OpenImages(ctx, host, filesystem.Local{}, root, poolName, filesystem.Ext4)
	return &imageClient{store: store, images: loadable, shelf: shelfOf(records), note: journal.noteImage}, err
}

// verify opens the pool again and compares it with the ledger, and its images with what
// their client was acknowledged.
func verify(ctx context.Context, host thinpool.Host, pool *thinpool.Pool, ledger *thinpooltest.Ledger,
	client *imageClient, journal *journal) error {
	if err := thinpooltest.Reopen(ctx, host, root); err != nil {
		return err
	}
	if err := client.verify(ctx); err != nil {
		return err
	}
	err := ledger.Resolve(ctx, pool, crash.Marks{}, func(act thinpooltest.Act, done bool) error {
		fmt.Printf("cut off: %+v, done %v\n", act, done)
		if done {
			return journal.write(record{Act: act, State: acknowledged})
		}
		return journal.write(record{Act: act, State: undone})
	})
	if err != nil {
		return err
	}
	faults := []error{ledger.Compare(ctx, pool, crash.Marks{})}
	report, err := pool.Check(ctx)
	faults = append(faults, err, crash.Leaks(root))
	for _, finding := range report.Findings {
		faults = append(faults, fmt.Errorf("the check found: %+v", finding))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if err := pool.Deactivate(ctx); err != nil {
		return err
	}
	if err := crash.ThinCheck(ctx, pool); err != nil {
		return err
	}
	return pool.Activate(ctx)
}

// load runs clients until the power is cut. It asks for the cut at a moment that the seed
// decides.
func load(ctx context.Context, pool *thinpool.Pool, ledger *thinpooltest.Ledger, client *imageClient, journal *journal,
	seed uint64, boot int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	random := rand.New(rand.NewPCG(seed, uint64(boot)))
	moment := 50*time.Millisecond + time.Duration(random.Int64N(int64(longest)))
	timer := time.AfterFunc(moment, func() { fmt.Fprintln(os.Stdout, cutNow) })
	defer timer.Stop()
	number := clients
	if boot%2 == 1 {
		number = 1
	}
	crowd := &thinpooltest.Crowd{Pool: pool, Blocks: crash.Marks{}, Ledger: ledger, Journal: journal.note,
		Number: number, Seed: random.Uint64(), Grows: true}
	acts := rand.New(rand.NewPCG(seed, 1000+uint64(boot)))
	var all sync.WaitGroup
	faults := make([]error, 2)
	all.Go(func() { faults[0] = crowd.Run(ctx); cancel() })
	all.Go(func() { faults[1] = client.run(ctx, acts); cancel() })
	all.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return errors.New("the power stayed on")
}
