package config

import (
	"slices"
	"strings"

	"thinctl/units"
)

// metadataLimit is the size of a metadata device that a kernel uses
// (dm-thin-metadata.h: 255 bitmaps of 16320 blocks).
const metadataLimit = 255 * 16320 * 4 * units.KiB

// checkAll checks whether the values of different keys contradict each other.
func (l *loading) checkAll() {
	l.checkServe()
	l.checkExtend("", l.Pool.Extend)
	for name, own := range l.pools {
		l.checkExtend(name, own.Extend)
	}
	l.checkContainerds()
}

func (l *loading) checkServe() {
	if l.Serve.Listen != "" || !l.isSet("serve.listen") {
		return
	}
	const remedy, what = "set serve.listen, or remove this key", "without effect, since serve.listen is empty"
	if l.Serve.WebConfig != "" {
		l.contradiction("", []string{"serve.web_config"}, remedy, what)
	}
	if l.Serve.PProf {
		l.contradiction("", []string{"serve.pprof"}, remedy, what)
	}
}

func (l *loading) isSet(key string) bool {
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
		if space.name == "metadata" && space.maximum > metadataLimit {
			l.contradiction(pool, []string{maximum}, "write at most "+metadataLimit.Exact(),
				"%s is more metadata than the kernel uses", space.maximum.Exact())
		}
		if space.maximum == 0 {
			continue
		}
		if space.at.Percent == 0 && space.at.Free >= space.maximum {
			l.contradiction(pool, []string{at, maximum}, "choose a smaller free size, or raise the maximum",
				"%s can never be free below the maximum of %s", space.at.Free.Exact(), space.maximum.Exact())
		}
		if space.step.Percent == 0 && space.step.Size > space.maximum {
			l.contradiction(pool, []string{step, maximum}, "make the step smaller, or raise the maximum",
				"the step of %s is larger than the maximum of %s", space.step.Size.Exact(), space.maximum.Exact())
		}
	}
}

// contradiction adds a fault at the last of the keys that are set. A pool that takes all
// of them from the global tables adds no second fault.
func (l *loading) contradiction(pool string, among []string, remedy, format string, args ...any) {
	at, key := Origin{Name: "default"}, among[0]
	for _, name := range among {
		full := name
		if own := "pools." + pool + "." + strings.TrimPrefix(name, "serve."); pool != "" && l.isSet(own) {
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
