package config

import (
	"slices"
	"strings"

	"thinctl/units"
)

// metadataMost is what a kernel uses of a metadata device (dm-thin-metadata.h:
// 255 bitmaps of 16320 blocks).
const metadataMost = 255 * 16320 * 4 * units.KiB

// checkAll looks for values that are right by themselves and cannot be meant
// together.
func (l *loading) checkAll() {
	l.checkServe()
	l.checkExtend("", l.global.pool.Extend)
	for name, s := range l.pools {
		l.checkExtend(name, s.pool.Extend)
	}
	l.checkContainerds()
}

func (l *loading) checkServe() {
	serve := l.global.serve
	if serve.Listen != "" {
		return
	}
	const remedy = "set serve.listen, or leave this out"
	if serve.WebConfig != "" && l.set("serve.listen") {
		l.contradiction("", []string{"serve.web_config"}, remedy, "nothing is served: serve.listen is empty")
	}
	if serve.PProf && l.set("serve.listen") {
		l.contradiction("", []string{"serve.pprof"}, remedy, "nothing is served: serve.listen is empty")
	}
}

func (l *loading) set(key string) bool {
	_, ok := l.origins[key]
	return ok
}

func (l *loading) checkExtend(pool string, e Extend) {
	for _, space := range []struct {
		name    string
		at      Threshold
		step    Step
		maximum units.Bytes
	}{{"data", e.DataAt, e.DataStep, e.DataMaximum}, {"metadata", e.MetadataAt, e.MetadataStep, e.MetadataMaximum}} {
		at, step, maximum := "extend."+space.name+"_at", "extend."+space.name+"_step", "extend."+space.name+"_maximum"
		if space.name == "metadata" && space.maximum > metadataMost {
			l.contradiction(pool, []string{maximum}, "write at most "+metadataMost.Exact(), "%s is more metadata than the kernel uses", space.maximum.Exact())
		}
		if space.maximum == 0 {
			continue
		}
		if space.at.Percent == 0 && space.at.Free >= space.maximum {
			l.contradiction(pool, []string{at, maximum}, "ask for less to be free, or raise the maximum",
				"%s can never be free below the maximum of %s", space.at.Free.Exact(), space.maximum.Exact())
		}
		if space.step.Percent == 0 && space.step.Size > space.maximum {
			l.contradiction(pool, []string{step, maximum}, "make the step smaller, or raise the maximum",
				"a step of %s is beyond the maximum of %s", space.step.Size.Exact(), space.maximum.Exact())
		}
	}
}

// contradiction tells a fault at the last of the keys that somebody has set; one
// that a pool has from the global tables is told there, once.
func (l *loading) contradiction(pool string, among []string, remedy, format string, args ...any) {
	at, key := Origin{Name: "default"}, among[0]
	for _, name := range among {
		full := name
		if own := "pools." + pool + "." + strings.TrimPrefix(name, "serve."); pool != "" && l.set(own) {
			full = own
		}
		origin, ok := l.origins[full]
		if ok && (at.Name == "default" || origin.Line > at.Line) {
			at, key = origin, full
		}
	}
	fault := faultOf(at, key, bad(remedy, format, args...))
	if !slices.Contains(l.faults, fault) {
		l.faults = append(l.faults, fault)
	}
}
