package containerd

import (
	"context"
	"strings"

	"thinctl/thinpool"
)

// Update changes a snapshot's labels: all of them, or those that fields name as
// "labels" or "labels.KEY". Nothing else can be changed.
func (s *Snapshotter) Update(ctx context.Context, key string, labels map[string]string, fields ...string) (Info, error) {
	const op = "update"
	if err := checkName(op, "key", key); err != nil {
		return Info{}, err
	}
	if err := checkLabels(op, key, labels); err != nil {
		return Info{}, err
	}
	for _, field := range fields {
		if field != "labels" && !strings.HasPrefix(field, "labels.") {
			return Info{}, refused(op, key, ErrInvalid, "field "+quoted(field)+" cannot be changed, only labels can")
		}
	}
	var info Info
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

// relabeled changes the labels that fields name; one without a value goes.
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

// kept are the labels that have a value; containerd keeps no others.
func kept(labels map[string]string) map[string]string {
	with := map[string]string{}
	for key, value := range labels {
		if value != "" {
			with[key] = value
		}
	}
	return with
}
