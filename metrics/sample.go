package metrics

import (
	"time"

	"thinctl/dm"
	"thinctl/thinpool"
	"thinctl/units"
)

// Space is one of the three things of a pool that can run full.
type Space string

// The three: the pool's data, its metadata, and the host's file system under
// the files of the two.
const (
	Data     Space = "data"
	Metadata Space = "metadata"
	Host     Space = "host"
)

func spaces() []Space { return []Space{Data, Metadata, Host} }

// Sample is what was seen of one pool at one moment.
type Sample struct {
	Pool string
	At   time.Time // when it was taken
	Took time.Duration
	// Err: the pool could not be read, or not all of it; the rest is zero or what
	// was read before the fault.
	Err    error
	Status thinpool.Status

	Layers, Containers, Images int
	// Volumes are those that somebody named, in the order of their kinds and
	// names.
	Volumes []Volume

	// Limits are the hard maxima of automatic extension; absent means none.
	Limits map[Space]units.Bytes
	// Forecast is how long until a space is full. A space that is absent is not
	// filling, or it is not known; nil means that nobody forecasts.
	Forecast map[Space]time.Duration
	// Conditions are the codes of the runbooks that the pool is in need of.
	Conditions []string
	Scan       *Scan // the last exact scan, nil where there was none yet
}

// Scan is an exact reading of a pool's metadata.
type Scan struct {
	At    time.Time
	Took  time.Duration
	Err   error
	Usage thinpool.Usage // of the last scan that succeeded
}

// The kinds of volumes that are exported one by one.
const (
	KindVolume    = "volume"
	KindContainer = "container"
)

// Volume is a volume that somebody named: a container, or a volume of the user's
// own.
type Volume struct {
	Kind string
	// Name is the volume's or the container's; of a container without one the
	// beginning of its id.
	Name    string
	ID      uint32
	Virtual units.Bytes
	// Mapped includes what is shared; nil where it was not asked for, and of a
	// volume that is not active.
	Mapped *units.Bytes
}

// HasStatus reports whether the pool's record and the kernel's answer are in the
// sample, with a fault or without.
func (s *Sample) HasStatus() bool { return s.Status.Data.Total > 0 }

// HasKernelStatus reports whether the kernel's figures are in the sample: an inactive
// pool has none, and a failed one returns none.
func (s *Sample) HasKernelStatus() bool {
	return s.HasStatus() && s.Status.Active && s.Status.Kernel.Mode != dm.ModeFail
}
