package snapshots

import (
	"context"
	"strings"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/thinpool"

	"github.com/containerd/containerd/v2/pkg/filters"
)

// Stat returns the record of a snapshot.
func (s *Snapshotter) Stat(ctx context.Context, key string) (core.Info, error) {
	if err := checkName("stat", "key", key); err != nil {
		return core.Info{}, err
	}
	r, err := s.get(ctx, "stat", key)
	return r.info(key), failed("stat", key, err)
}

// Walk calls f with each snapshot of the namespace that matches one of the filters, and
// with every snapshot if there is no filter. Filters have containerd's syntax and match
// name, parent, kind and labels.KEY. The snapshots are those of one moment. f may call
// any method.
func (s *Snapshotter) Walk(ctx context.Context, f core.WalkFunc, match ...string) error {
	wanted, err := filters.ParseAll(match...)
	if err != nil {
		return &Error{Op: "list", Object: "snapshots", Kind: fault.Invalid, Detail: "the filter", Err: err}
	}
	var found []core.Info
	err = s.pool.View(ctx, func(tx *thinpool.Tx) error {
		found = nil
		for entry, err := range Records(tx, s.options.Namespace, "") {
			if err != nil {
				return err
			}
			if info := entry.Record.info(entry.Key); wanted.Match(filters.AdapterFunc(field(info))) {
				found = append(found, info)
			}
		}
		return nil
	})
	if err != nil {
		return wrapped("list", "snapshots", err)
	}
	for _, info := range found {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(ctx, info); err != nil {
			return err
		}
	}
	return nil
}

// field returns the fields of a snapshot that filters can name.
func field(i core.Info) func(path []string) (string, bool) {
	return func(path []string) (string, bool) {
		if len(path) == 0 {
			return "", false
		}
		switch path[0] {
		case "name":
			return i.Name, true
		case "kind":
			return strings.ToLower(i.Kind.String()), true
		case "parent":
			return i.Parent, i.Parent != ""
		case "labels":
			value, ok := i.Labels[strings.Join(path[1:], ".")]
			return value, ok
		}
		return "", false
	}
}
