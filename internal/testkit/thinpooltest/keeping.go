package thinpooltest

import (
	"context"
	"errors"

	"thinctl/fault"
	"thinctl/thinpool"
)

// notes is the kind of the document that operations write along with a volume.
const notes thinpool.DocumentKind = "notes"

const (
	noteKey = "note"
	kept    = "test"
)

func note(text string) func(*thinpool.Tx) error {
	return func(tx *thinpool.Tx) error {
		if text == "" {
			return tx.Delete(notes, noteKey)
		}
		return tx.Put(notes, noteKey, text)
	}
}

func keep(text string, readOnly bool) thinpool.Keep {
	return thinpool.Keep{For: kept, ReadOnly: readOnly,
		With: func(tx *thinpool.Tx, _ thinpool.VolumeRecord) error { return note(text)(tx) }}
}

func (s *State) readNote(tx *thinpool.Tx) error {
	err := tx.Get(notes, noteKey, &s.Note)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// keepingOperations change a document and volumes in one transaction.
func keepingOperations() []Operation {
	has := func(s State, name string) bool { return s.Volumes[name].Name != "" }
	operations := []Operation{
		{
			Name: "create volume with a document",
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.CreateVolume(ctx, "new", thinpool.VolumeOptions{Keep: keep("created", false)})
				return err
			}),
			Done:   func(_, s State) bool { return has(s, "new") && s.Note == "created" },
			Undone: func(_, s State) bool { return !has(s, "new") && s.Note == "before" },
		},
		{
			Name: "snapshot active origin without its document", Writing: true,
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.Snapshot(ctx, "base", "new", thinpool.SnapshotOptions{Keep: keep("", true)})
				return err
			}),
			Done:   func(_, s State) bool { return s.Volumes["new"].ReadOnly && s.Note == "" },
			Undone: func(_, s State) bool { return !has(s, "new") && s.Note == "before" },
		},
		{
			Name: "rename volume",
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.RenameVolume(ctx, "doomed", "renamed", thinpool.RenameOptions{Keep: keep("renamed", true)})
				return err
			}),
			Done: func(_, s State) bool {
				return !has(s, "doomed") && s.Volumes["renamed"].For == kept && s.Note == "renamed"
			},
			Undone: func(_, s State) bool { return has(s, "doomed") && !has(s, "renamed") && s.Note == "before" },
		},
		{
			Name: "remove volumes",
			Run: in(CrashPool, func(ctx context.Context, p *thinpool.Pool) error {
				_, err := p.RemoveVolumes(ctx, []string{"idle", "doomed"}, thinpool.RemoveOptions{}, note("removed"))
				return errors.Join(err, p.Close(ctx))
			}),
			Done: func(b, s State) bool {
				// Base may have been written after the snapshot idle was taken.
				return !has(s, "idle") && !has(s, "doomed") && s.Used <= b.Used-2 && s.Note == "removed"
			},
			Undone: func(b, s State) bool {
				return has(s, "idle") && has(s, "doomed") && s.Used == b.Used && s.Note == "before"
			},
		},
	}
	for i := range operations {
		operations[i].Stride = 3
	}
	return operations
}
