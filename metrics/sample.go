package metrics

import (
	"time"

	"thinctl/dm"
	"thinctl/thinpool"
	"thinctl/units"
)

// Space is one of a pool's spaces that can become full.
type Space string

// The spaces: the pool's data, its metadata, and the host's file system that contains the
// pool's files.
const (
	Data     Space = "data"
	Metadata Space = "metadata"
	Host     Space = "host"
)

func spaces() []Space { return []Space{Data, Metadata, Host} }

// Sample holds the state of one pool at one moment.
type Sample struct {
	Pool string
	At   time.Time // when it was taken
	Took time.Duration
	// Err is set if a part of the pool could not be read. The other fields are then zero,
	// or hold the values that were read before the error.
	Err    error
	Status thinpool.Status

	Layers, Containers, Images int
	// Volumes holds the volumes that users have named, sorted by kind and name.
	Volumes []Volume

	// Limits holds the largest sizes to which spaces are extended automatically. A space
	// without a limit is absent.
	Limits map[Space]units.Bytes
	// Forecast holds the time until a space is full. A space is absent if it is not filling
	// or if that is not known. The map is nil if there is no forecast.
	Forecast map[Space]time.Duration
	// Conditions holds the codes of the pool's conditions, which are those of runbooks.
	Conditions []string
	Scan       *Scan // the last exact scan; nil if there was none yet
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

// Volume is a volume that a user has named, or the volume of a container.
type Volume struct {
	Kind string
	// Name is the name of the volume or container, or the beginning of the id of a
	// container without a name.
	Name    string
	ID      uint32
	Virtual units.Bytes
	// Mapped includes shared data. It is nil if it was not read, or if the volume is
	// inactive.
	Mapped *units.Bytes
}

// HasStatus reports whether the sample contains the pool's record and status.
func (s *Sample) HasStatus() bool { return s.Status.Data.Total > 0 }

// HasKernelStatus reports whether the sample contains sizes from the kernel. They are
// missing for inactive and for failed pools.
func (s *Sample) HasKernelStatus() bool {
	return s.HasStatus() && s.Status.Active && s.Status.Kernel.Mode != dm.ModeFail
}
