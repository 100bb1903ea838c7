package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
)

// isSevere reports whether writes to the pool fail under a condition, or soon will.
func isSevere(code string) bool {
	return slices.Contains([]string{
		DataFull, MetadataFull, HostFull, NeedsCheck, PoolReadOnly, PoolFailed, PoolGone, PoolInactive, ExtendFailed,
	}, code)
}

// logConditions logs each condition once when it begins and once when it ends.
func (w *watcher) logConditions(a assessment, codes []string) {
	for _, code := range codes {
		if slices.Contains(w.codes, code) {
			continue
		}
		level := slog.LevelWarn
		if isSevere(code) {
			level = slog.LevelError
		}
		message := "the pool needs attention: run `thinctl explain " + code + "`"
		w.log.Log(context.Background(), level, message, append([]any{"code", code}, poolAttributes(a)...)...)
	}
	for _, code := range w.codes {
		if !slices.Contains(codes, code) {
			w.log.Info("the condition has ended", "code", code)
		}
	}
	w.codes = codes
	text := ""
	if err := a.sample.Err; err != nil {
		text = err.Error()
	}
	if text != "" && text != w.lastError {
		w.log.Warn("the pool could not be read", "error", a.sample.Err)
	}
	w.lastError = text
}

// poolAttributes returns the pool's mode and sizes for a log record.
func poolAttributes(a assessment) []any {
	s := a.sample.Status
	if a.sample.Err != nil || !s.Active {
		return nil
	}
	all := []any{"mode", s.Kernel.Mode.String(), "data_used", s.Data.Used, "data_size", s.Data.Total,
		"metadata_used", s.Metadata.Used, "metadata_size", s.Metadata.Total}
	if s.Host != nil {
		all = append(all, "host_available", s.Host.Available)
	}
	return all
}

// statusLine returns the line for `systemctl status`.
func (d *Daemon) statusLine() string {
	samples := d.Samples()
	count := 0
	for _, s := range samples {
		if len(s.Conditions) > 0 {
			count++
		}
	}
	line := fmt.Sprintf("STATUS=%d pools", len(samples))
	if len(samples) == 1 {
		line = "STATUS=1 pool"
	}
	if count > 0 {
		line += fmt.Sprintf(", %d of them in need of attention", count)
	}
	return line
}
