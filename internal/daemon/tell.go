package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
)

// severe are the conditions under which writes fail, or will not be taken.
func severe(code string) bool {
	return slices.Contains([]string{DataFull, MetadataFull, HostFull, NeedsCheck, PoolReadOnly, PoolFailed, PoolGone, PoolInactive, ExtendFailed}, code)
}

// tell logs conditions that begin and end, once each.
func (w *watcher) tell(o seen, codes []string) {
	for _, code := range codes {
		if slices.Contains(w.held, code) {
			continue
		}
		level := slog.LevelWarn
		if severe(code) {
			level = slog.LevelError
		}
		w.log.Log(context.Background(), level, "this needs somebody's attention: `thinctl explain "+code+"`", append([]any{"code", code}, figures(o)...)...)
	}
	for _, code := range w.held {
		if !slices.Contains(codes, code) {
			w.log.Info("this is over", "code", code)
		}
	}
	w.held = codes
	trouble := ""
	if err := o.sample.Err; err != nil {
		trouble = err.Error()
	}
	if trouble != "" && trouble != w.trouble {
		w.log.Warn("the pool could not be read", "error", o.sample.Err)
	}
	w.trouble = trouble
}

// figures are what a condition is about.
func figures(o seen) []any {
	s := o.sample.Status
	if o.sample.Err != nil || !s.Active {
		return nil
	}
	all := []any{"mode", s.Kernel.Mode.String(), "data_used", s.Data.Used, "data_size", s.Data.Total,
		"metadata_used", s.Metadata.Used, "metadata_size", s.Metadata.Total}
	if s.Host != nil {
		all = append(all, "host_available", s.Host.Available)
	}
	return all
}

// statusLine is what `systemctl status` shows.
func (d *Daemon) statusLine() string {
	samples := d.Samples()
	troubled := 0
	for _, s := range samples {
		if len(s.Conditions) > 0 {
			troubled++
		}
	}
	line := fmt.Sprintf("STATUS=%d pools", len(samples))
	if len(samples) == 1 {
		line = "STATUS=1 pool"
	}
	if troubled > 0 {
		line += fmt.Sprintf(", %d of them in need of attention", troubled)
	}
	return line
}
