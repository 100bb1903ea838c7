package layers

import "thinctl/units"

// Cure is a remedy that needs a command: the Cure of an [Error]. This package has no
// commands. A program prints a sentence for the code, behind the error and its Remedy.
type Cure struct {
	Code      CureCode
	Pool      string // the name of the pool
	Container string // of CureUnmount
	What      string // of CureList: "layer" or "container"
	// Size is the least size of a larger volume. XFS is the least size of a volume with
	// xfs instead of ext4, 0 if the present size is enough.
	Size, XFS units.Bytes
}

// IsCure makes a Cure a fault.Cure.
func (Cure) IsCure() {}

// CureCode names a cure.
type CureCode string

// The cures.
const (
	CureList    CureCode = "list"
	CureCheck   CureCode = "check"   // all pools
	CureUnmount CureCode = "unmount" // or stop the process that reads the container
	// CureLarger makes the volume larger. CureLargerOrXFS does, or formats it with xfs.
	CureLarger      CureCode = "larger"
	CureLargerOrXFS CureCode = "larger-or-xfs"
	// CureXFS formats the volume with xfs.
	CureXFS CureCode = "xfs"
	// CureXFSBelow removes the layers below, which have ext4, and then is CureXFS.
	CureXFSBelow CureCode = "xfs-below"
)
