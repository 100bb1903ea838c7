package thinpool

import "thinctl/units"

// Cure is a remedy that needs a command: the Cure of an [Error] or a [Finding]. This
// package has no commands. A program prints a sentence for the code, behind the error and
// its Remedy.
type Cure struct {
	Code CureCode
	Pool string // the name of the pool; "" if there is none
	// Path is the file, directory, device or name that the comment of the code names; ""
	// otherwise.
	Path string
	Size units.Bytes // of CureTruncate
}

// IsCure makes a Cure a fault.Cure.
func (Cure) IsCure() {}

// CureCode names a cure.
type CureCode string

// The cures of errors.
const (
	CureListPools   CureCode = "list-pools"
	CureListVolumes CureCode = "list-volumes"
	CureActivate    CureCode = "activate"
	CureCheck       CureCode = "check"
	CureRepair      CureCode = "repair"
	CureRepairAgain CureCode = "repair-again" // the repair was cut off or has failed
	// CureNeedsCheck deactivates the pool and repairs it: the kernel has set needs_check.
	CureNeedsCheck CureCode = "needs-check"
	// CureReadOnly extends the metadata, or checks the pool.
	CureReadOnly CureCode = "read-only"
	// CureReload deactivates, activates and then checks the pool.
	CureReload CureCode = "reload"
	// CureCheckInactive deactivates the pool, and then checks all of its metadata.
	CureCheckInactive CureCode = "check-inactive"
	// CureRestoreDatabase repairs the pool: the database is lost or damaged.
	CureRestoreDatabase CureCode = "restore-database"
	// CureDestroy gives up a pool whose contents are lost.
	CureDestroy CureCode = "destroy"

	// CureExtendData and CureExtendMetadata extend that space, or remove volumes.
	CureExtendData     CureCode = "extend-data"
	CureExtendMetadata CureCode = "extend-metadata"
	// CureReadInactive is CureExtendMetadata, or reads the metadata of the inactive pool.
	CureReadInactive CureCode = "read-inactive"
	// CureGiveSizes sets ExtendOptions.Data or Metadata: files have no size of their own.
	CureGiveSizes CureCode = "give-sizes"
	// CureDeferred sets RemoveOptions.Deferred.
	CureDeferred CureCode = "deferred"
	// CureReleaseSnapshot releases the metadata snapshot of the device named Path.
	CureReleaseSnapshot CureCode = "release-snapshot"

	// The next ones set ActivateOptions.Accept to Path: as it is, with an older content, a
	// copy of the disk, and a file whose end is lost.
	CureAccept      CureCode = "accept"
	CureAcceptOlder CureCode = "accept-older"
	CureAcceptCopy  CureCode = "accept-copy"
	CureAcceptShort CureCode = "accept-short"
	// CureTruncate makes the file at Path Size long again; its end is lost.
	CureTruncate CureCode = "truncate"
	// CureDeactivateFirst deactivates the pool before other disks are accepted.
	CureDeactivateFirst CureCode = "deactivate-first"
	// CureAttachExpected and CureAttachAgain deactivate the pool, attach its disk, and
	// activate the pool.
	CureAttachExpected CureCode = "attach-expected"
	CureAttachAgain    CureCode = "attach-again"
	// CureResumeDevice resumes the suspended device at Path.
	CureResumeDevice CureCode = "resume-device"
	// CureNameData and CureNameMetadata put a file back into the pool's directory, Path,
	// or set RepairOptions.DataDevice or MetadataDevice.
	CureNameData     CureCode = "name-data"
	CureNameMetadata CureCode = "name-metadata"

	// CureForce wipes a device, or sets CreateOptions.Force.
	CureForce CureCode = "force"
	// CureShowUsers shows what uses the device at Path.
	CureShowUsers CureCode = "show-users"
	// CureRemoveDevice removes the kernel's device that has the pool's name.
	CureRemoveDevice CureCode = "remove-device"
	// CureLoadModule loads the kernel's module of thin pools.
	CureLoadModule CureCode = "load-module"
	// CureFreeLoops detaches loop devices: the kernel has none left.
	CureFreeLoops CureCode = "free-loops"
)

// The cures of findings. Most of them repair the pool, and differ in what a repair does.
const (
	// CureRepairInactive deactivates the pool first.
	CureRepairInactive CureCode = "repair-inactive"
	CureUndo           CureCode = "undo"          // it undoes a change; so does the next change
	CureFinish         CureCode = "finish"        // it finishes an extension
	CureResume         CureCode = "resume"        // it resumes a device
	CureRemove         CureCode = "remove"        // it removes an unfinished device
	CureRemoveClosed   CureCode = "remove-closed" // it removes a device when that is closed
	CureRebuild        CureCode = "rebuild"       // it rebuilds the metadata
	CureAdopt          CureCode = "adopt"         // it makes a volume of a thin device
	CureDropRecord     CureCode = "drop-record"   // it drops the record of a lost volume
	CureAgree          CureCode = "agree"         // it makes the database agree with the metadata
)

func (p *Pool) cure(code CureCode) Cure { return Cure{Code: code, Pool: p.name} }

func (p *Pool) cureAt(code CureCode, path string) Cure {
	return Cure{Code: code, Pool: p.name, Path: path}
}
