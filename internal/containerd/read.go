package containerd

import (
	"context"
	"strings"

	"thinctl/thinpool"

	"github.com/containerd/containerd/v2/pkg/filters"
)

// Stat tells what is known of a snapshot.
func (s *Snapshotter) Stat(ctx context.Context, key string) (Info, error) {
	if err := checkName("stat", "key", key); err != nil {
		return Info{}, err
	}
	r, err := s.get(ctx, "stat", key)
	return r.info(key), failed("stat", key, err)
}

// Walk calls f with each snapshot of the namespace that one of the filters
// matches, all without filters: name, parent, kind and labels.KEY, in containerd's
// syntax. They are of one moment; f may call any method.
func (s *Snapshotter) Walk(ctx context.Context, f func(Info) error, match ...string) error {
	wanted, err := filters.ParseAll(match...)
	if err != nil {
		return &Error{Op: "list", Object: "snapshots", Kind: ErrInvalid, Detail: "the filter", Err: err}
	}
	var found []Info
	err = s.pool.View(ctx, func(tx *thinpool.Tx) error {
		found = nil
		for entry, err := range thinpool.Documents[record](tx, kindSnapshots, s.key("")) {
			if err != nil {
				return err
			}
			_, name := splitNamespace(entry.Key)
			if info := entry.Record.info(name); wanted.Match(filters.AdapterFunc(info.field)) {
				found = append(found, info)
			}
		}
		return nil
	})
	if err != nil {
		return &Error{Op: "list", Object: "snapshots", Err: err}
	}
	for _, info := range found {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(info); err != nil {
			return err
		}
	}
	return nil
}

// field is what filters ask for.
func (i Info) field(path []string) (string, bool) {
	if len(path) == 0 {
		return "", false
	}
	switch path[0] {
	case "name":
		return i.Name, true
	case "kind":
		return string(i.Kind), true
	case "parent":
		return i.Parent, i.Parent != ""
	case "labels":
		value, ok := i.Labels[strings.Join(path[1:], ".")]
		return value, ok
	}
	return "", false
}
