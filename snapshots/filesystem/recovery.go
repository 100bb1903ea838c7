package filesystem

import (
	"encoding/binary"
	"errors"
)

// NeedsRecovery tells whether a file system that is not mounted was left with
// changes in its journal, so that mounting it without recovery may show it as it
// never was. Of xfs that stands in its log only, and so it is always said.
func NeedsRecovery(device string) (bool, error) {
	kind, _, err := Detect(device)
	if err != nil || kind != Ext4 {
		return kind == XFS, err
	}
	f, err := openDevice(device, 0)
	if err != nil {
		return false, in("detect", device, err)
	}
	const recover = 0x4 // EXT4_FEATURE_INCOMPAT_RECOVER
	b := make([]byte, 4)
	_, err = f.ReadAt(b, ext4At+96)
	return binary.LittleEndian.Uint32(b)&recover != 0, in("detect", device, errors.Join(err, f.Close()))
}
