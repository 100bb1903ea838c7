package snapshots

import (
	"context"
	"strings"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/thinpool"
)

// Update replaces the labels of a snapshot: all of them, or those that fields name as
// "labels" or "labels.KEY". Nothing else can be changed.
func (s *Snapshotter) Update(ctx context.Context, info core.Info, fields ...string) (core.Info, error) {
	const op = "update"
	key, labels := info.Name, info.Labels
	if err := checkName(op, "key", key); err != nil {
		return core.Info{}, err
	}
	if err := checkLabels(op, key, labels); err != nil {
		return core.Info{}, err
	}
	for _, field := range fields {
		if field != "labels" && !strings.HasPrefix(field, "labels.") {
			return core.Info{}, refused(
				op,
				key,
				fault.Invalid,
				"field "+quoted(field)+" cannot be changed, only labels can",
			)
		}
	}
	err := s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		r, err := s.find(tx, op, key)
		if err != nil {
			return err
		}
		r.Labels = relabeled(r.Labels, labels, fields)
		if err := checkLabels(op, key, r.Labels); err != nil {
			return err
		}
		r.Updated = s.now()
		info = r.info(key)
		return s.put(tx, key, r)
	})
	return info, failed(op, key, err)
}

// relabeled returns labels after an update of the fields. A label without a value is
// dropped.
func relabeled(was, labels map[string]string, fields []string) map[string]string {
	if len(fields) == 0 {
		fields = []string{"labels"}
	}
	now := kept(was)
	for _, field := range fields {
		key, one := strings.CutPrefix(field, "labels.")
		if !one {
			now = kept(labels)
			continue
		}
		if value := labels[key]; value != "" {
			now[key] = value
		} else {
			delete(now, key)
		}
	}
	return now
}

// kept returns the labels that have a value; containerd keeps no others.
func kept(labels map[string]string) map[string]string {
	with := map[string]string{}
	for key, value := range labels {
		if value != "" {
			with[key] = value
		}
	}
	return with
}
