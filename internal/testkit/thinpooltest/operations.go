package thinpooltest

import (
	"context"
	"errors"
	"slices"

	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// Operation is an operation at whose steps a process is stopped.
type Operation struct {
	Name string
	Run  func(ctx context.Context, host thinpool.Host, root string) error
	// Done and Undone report whether a reopened pool shows the operation done or undone;
	// exactly one must be true. before is the state that Prepare made.
	Done, Undone func(before, after State) bool
	// Volatile means that its effect is in the kernel only, and ends with the power.
	Volatile bool
	// Spare means that it needs the second pool.
	Spare bool
	// Writing means that base may be written concurrently.
	Writing bool
	// Stride is the number of steps between two kills in tests where a kill takes long; 0
	// means 1. It is for operations whose steps resemble those of others.
	Stride int
}

// Operations returns all operations that change a pool. Each begins with the pools of
// Prepare.
func Operations() []Operation {
	always := func(_, _ State) bool { return true } // the process that reopens activates
	never := func(_, _ State) bool { return false }
	return slices.Concat([]Operation{
		{
			Name: "create pool",
			Run: func(ctx context.Context, host thinpool.Host, root string) error {
				_, err := thinpool.Create(ctx, host, root, secondPool, SmallPool())
				return err
			},
			Done:   func(_, s State) bool { return s.Pools[secondPool] },
			Undone: func(_, s State) bool { return !s.Pools[secondPool] },
		},
		{
			Name: "destroy pool", Spare: true,
			Run:    in(sparePool, func(ctx context.Context, p *thinpool.Pool) error { return p.Destroy(ctx) }),
			Done:   func(_, s State) bool { return !s.Pools[sparePool] },
			Undone: func(_, s State) bool { return s.Pools[sparePool] },
		},
		{
			Name: "deactivate and activate pool",
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				if err := p.Deactivate(ctx); err != nil {
					return err
				}
				return p.Activate(ctx)
			}),
			Done: always, Undone: never,
		},
		{
			Name: "read metadata", Writing: true,
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				return p.ReadMetadata(ctx, func(r *thinpool.Reading) error {
					_, err := metadata.Scan(ctx, r, r.Root, metadata.ScanOptions{DataBlocks: r.DataBlocks})
					return err
				})
			}),
			// The scan changes nothing. The process that reopens the pool releases the
			// metadata snapshot.
			Done:   func(_, s State) bool { return s.Held == 0 },
			Undone: never,
		},
	}, volumeOperations(), keepingOperations(), []Operation{
		{
			Name: "extend", Writing: true,
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				now, err := p.Status(ctx)
				if err != nil {
					return err
				}
				_, err = p.Extend(ctx, thinpool.ExtendOptions{Data: now.Data.Total + grownData,
					Metadata: now.Metadata.Total + grownMetadata})
				return err
			}),
			Done:   func(b, s State) bool { return s.Data == b.Data+grownData && s.Metadata == b.Metadata+grownMetadata },
			Undone: func(b, s State) bool { return s.Data == b.Data && s.Metadata == b.Metadata },
		},
		{
			Name: "set full policy", Writing: true, Volatile: true,
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				now, err := p.Status(ctx)
				if err != nil {
					return err
				}
				_, err = p.SetFullPolicy(ctx, !now.Kernel.ErrorIfNoSpace)
				return err
			}),
			Done:   func(b, s State) bool { return s.ErrorIfFull != b.ErrorIfFull },
			Undone: func(b, s State) bool { return s.ErrorIfFull == b.ErrorIfFull },
		},
		{
			Name: "set", Writing: true,
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				now, err := p.Record(ctx)
				if err != nil {
					return err
				}
				reserve := otherReserve(now.Reserve.Metadata)
				_, _, err = p.Set(ctx, thinpool.SetOptions{BaseSize: now.BaseSize + grownVolume, ReserveMetadata: &reserve})
				return err
			}),
			Done: func(b, s State) bool {
				b.Settings.BaseSize += grownVolume
				b.Settings.Reserve.Metadata = otherReserve(b.Settings.Reserve.Metadata)
				return s.Settings == b.Settings
			},
			Undone: func(b, s State) bool { return s.Settings == b.Settings },
		},
	})
}

// otherReserve returns 1% for 0%, and 0% for 1%. Neither reserve makes the pool refuse a
// volume.
func otherReserve(percent int) int { return 1 - percent }

const (
	grownData     = 4 * units.MiB
	grownMetadata = units.MiB
	grownVolume   = units.MiB
)

func volumeOperations() []Operation {
	taken := func(origin string) (done, undone func(_, s State) bool) {
		return func(_, s State) bool { return s.Volumes["new"].Name != "" && s.Volumes["new"].Origin == origin },
			func(_, s State) bool { return s.Volumes["new"].Name == "" }
	}
	createDone, createUndone := taken("")
	activeDone, activeUndone := taken("base")
	idleDone, idleUndone := taken("idle")
	snapshot := func(origin string) func(context.Context, *thinpool.Pool) error {
		return func(ctx context.Context, p *thinpool.Pool) error {
			_, err := p.Snapshot(ctx, origin, "new", thinpool.SnapshotOptions{})
			return err
		}
	}
	remove := func(name string) func(context.Context, *thinpool.Pool) error {
		return func(ctx context.Context, p *thinpool.Pool) error {
			_, err := p.RemoveVolume(ctx, name, thinpool.RemoveOptions{})
			return errors.Join(err, p.Close(ctx))
		}
	}
	return []Operation{
		{
			Name: "create volume",
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.CreateVolume(ctx, "new", thinpool.VolumeOptions{})
				return err
			}),
			Done: createDone, Undone: createUndone,
		},
		{Name: "snapshot active origin", Writing: true, Run: in(CrashPool, snapshot("base")), Done: activeDone,
			Undone: activeUndone},
		{Name: "snapshot inactive origin", Run: in(CrashPool, snapshot("idle")), Done: idleDone, Undone: idleUndone},
		{
			Name: "activate volume", Volatile: true,
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.ActivateVolume(ctx, "idle")
				return err
			}),
			Done:   func(_, s State) bool { return s.Volumes["idle"].Active },
			Undone: func(_, s State) bool { return s.Volumes["idle"].Name != "" && !s.Volumes["idle"].Active },
		},
		{
			Name: "deactivate volume", Volatile: true,
			Run:    in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error { return p.DeactivateVolume(ctx, "base") }),
			Done:   func(_, s State) bool { return s.Volumes["base"].Name != "" && !s.Volumes["base"].Active },
			Undone: func(_, s State) bool { return s.Volumes["base"].Active },
		},
		{
			Name: "resize active volume", Writing: true,
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				now, err := p.VolumeStatus(ctx, "base")
				if err != nil {
					return err
				}
				_, err = p.ResizeVolume(ctx, "base", now.Size+grownVolume)
				return err
			}),
			Done:   func(b, s State) bool { return s.Volumes["base"].Size == b.Volumes["base"].Size+grownVolume },
			Undone: func(b, s State) bool { return s.Volumes["base"].Size == b.Volumes["base"].Size },
		},
		{
			Name: "remove active volume", Run: in(CrashPool, remove("doomed")),
			Done:   func(b, s State) bool { return s.Volumes["doomed"].Name == "" && s.Used == b.Used-2 },
			Undone: func(b, s State) bool { return s.Volumes["doomed"].Name != "" && s.Used == b.Used },
		},
		{
			Name: "remove inactive volume", Run: in(CrashPool, remove("idle")),
			Done:   func(_, s State) bool { return s.Volumes["idle"].Name == "" },
			Undone: func(_, s State) bool { return s.Volumes["idle"].Name != "" },
		},
	}
}

// in returns a function that opens the pool, as another process does, and calls do.
func in(name string, do func(context.Context, *thinpool.Pool) error) func(context.Context, thinpool.Host,
	string) error {
	return func(ctx context.Context, host thinpool.Host, root string) error {
		pool, err := thinpool.Open(ctx, host, root, name)
		if err != nil {
			return err
		}
		return do(ctx, pool)
	}
}
