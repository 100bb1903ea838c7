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

// Root is where pools live unless a caller says otherwise.
const Root = "/var/lib/thinctl"

// Files of a pool's folder.
const (
	dataFile     = "data"
	metadataFile = "metadata"
	databaseFile = "state.db"
	lockFile     = "lock"
	mountsDir    = "mnt"
	layersDir    = "layers"
)

// Folders under the root that are not pools: one being made, one being
// destroyed. Whoever finds one without its maker finishes the clean-up.
const (
	creatingPrefix   = ".creating-"
	destroyingPrefix = ".destroying-"
)

const (
	uuidPrefix = "THINCTL-"
	namePrefix = "thinctl-"
)

// CheckPoolName tells whether name can be a pool's.
func CheckPoolName(name string) error { return checkName("pool", name, names.Pool) }

// CheckVolumeName tells whether name can be a volume's.
func CheckVolumeName(name string) error { return checkName("volume", name, names.Volume) }

func checkName(what, name string, rule names.Rule) error {
	if err := rule.Check(name); err != nil {
		return &Error{Op: "name", Object: what + " " + fmt.Sprintf("%q", name), Kind: fault.Invalid, Detail: err.Error()}
	}
	return nil
}

// uuid is a pool's identity, written as 32 hex digits.
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

// poolDeviceName is the pool's device mapper name. Hyphens of the pool's name
// are doubled, as LVM doubles them, so that no pool's name and volume's name
// run together into another's.
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

// ownDevice reads a device's uuid: is it this pool's, and which volume?
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
