package thinpool

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/names"
)

// Root is the default directory of pools.
const Root = "/var/lib/thinctl"

// Files and directories in a pool's directory.
const (
	dataFile     = "data"
	metadataFile = "metadata"
	databaseFile = "state.db"
	lockFile     = "lock"
	mountsDir    = "mnt"
	layersDir    = "layers"
)

// Prefixes of directories under the root that are not pools: a pool that is being
// created or destroyed. After a kill, the next create or destroy finishes the clean-up.
const (
	creatingPrefix   = ".creating-"
	destroyingPrefix = ".destroying-"
)

const (
	uuidPrefix = "THINCTL-"
	namePrefix = "thinctl-"
)

// CheckPoolName returns an error if a pool cannot have the name.
func CheckPoolName(name string) error { return checkName("pool", name, names.Pool) }

// CheckVolumeName returns an error if a volume cannot have the name.
func CheckVolumeName(name string) error { return checkName("volume", name, names.Volume) }

func checkName(what, name string, rule names.Rule) error {
	if err := rule.Check(name); err != nil {
		return &Error{
			Op:     "name",
			Object: what + " " + fmt.Sprintf("%q", name),
			Kind:   fault.Invalid,
			Detail: err.Error(),
		}
	}
	return nil
}

// uuid is a pool's identity. Its text form has 32 hex digits.
type uuid [16]byte

func newUUID() uuid {
	var u uuid
	rand.Read(u[:]) // never fails (crypto/rand)
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

func (u uuid) String() string { return hex.EncodeToString(u[:]) }

func parseUUID(text string) (uuid, error) {
	var u uuid
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(u) {
		return u, fmt.Errorf("pool uuid %q is not 32 hex digits", text)
	}
	copy(u[:], raw)
	return u, nil
}

// poolDeviceName returns the pool's device mapper name. Hyphens in the pool's name are
// doubled, as in LVM, so that no two pairs of pool and volume have the same device name.
func poolDeviceName(pool string) dm.Name {
	return dm.Name(namePrefix + strings.ReplaceAll(pool, "-", "--"))
}

func volumeDeviceName(pool, volume string) dm.Name {
	return poolDeviceName(pool) + "-" + dm.Name(volume)
}

func poolDeviceUUID(pool string) dm.UUID { return dm.UUID(uuidPrefix + pool + "-pool") }

func volumeDeviceUUID(pool string, id uint32) dm.UUID {
	return dm.UUID(fmt.Sprintf("%s%s-%d", uuidPrefix, pool, id))
}

// ownDevice reports whether a device's uuid is that of the pool or of one of its
// volumes, and returns the volume's device id.
func ownDevice(pool string, id dm.UUID) (volume uint32, isPool, own bool) {
	rest, ok := strings.CutPrefix(string(id), uuidPrefix+pool+"-")
	if !ok {
		return 0, false, false
	}
	if rest == "pool" {
		return 0, true, true
	}
	n, err := fmt.Sscanf(rest, "%d", &volume)
	return volume, false, err == nil && n == 1
}

func (p *Pool) path(name string) string { return filepath.Join(p.dir, name) }
