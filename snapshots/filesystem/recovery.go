package filesystem

import (
	"encoding/binary"
	"errors"
)

// NeedsRecovery reports whether the journal of a file system that is not mounted has
// changes. Mounted without recovery, such a file system may be inconsistent. For xfs
// it always returns true, as only the log itself has the answer.
func NeedsRecovery(device string) (bool, error) {
	kind, _, err := Detect(device)
	if err != nil || kind != Ext4 {
		return kind == XFS, err
	}
	f, err := openDevice(device, 0)
	if err != nil {
		return false, in("detect", device, err)
	}
	const needsRecovery = 0x4 // EXT4_FEATURE_INCOMPAT_RECOVER
	b := make([]byte, 4)
	_, err = f.ReadAt(b, ext4At+96)
	return binary.LittleEndian.Uint32(b)&needsRecovery != 0, in("detect", device, errors.Join(err, f.Close()))
}
