package remedy

import (
	"fmt"
	"strings"

	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

// poolSentences are the sentences for the cures of package thinpool.
var poolSentences = map[thinpool.CureCode]string{
	thinpool.CureListPools:       "`thinctl pool list` shows the pools",
	thinpool.CureListVolumes:     "`thinctl volume list {pool}` shows the volumes",
	thinpool.CureActivate:        "run `thinctl pool activate {pool}`",
	thinpool.CureCheck:           "run `thinctl pool check {pool}`",
	thinpool.CureRepair:          "run `thinctl pool repair {pool}`",
	thinpool.CureRepairAgain:     "run `thinctl pool repair {pool}` again",
	thinpool.CureNeedsCheck:      "deactivate it and run `thinctl pool repair {pool}`",
	thinpool.CureReadOnly:        "run `thinctl pool extend {pool} --metadata SIZE` or `thinctl pool check {pool}`",
	thinpool.CureReload:          "deactivate and activate it, then run `thinctl pool check {pool}`",
	thinpool.CureCheckInactive:   "`thinctl pool deactivate {pool}`, then `thinctl pool check {pool}`",
	thinpool.CureRestoreDatabase: "`thinctl pool repair {pool}` restores it from its copy and the metadata",
	thinpool.CureDestroy:         "to give the pool up, run `thinctl pool destroy {pool} --yes`",

	thinpool.CureExtendData:     "run `thinctl pool extend {pool} --data SIZE`, or remove volumes",
	thinpool.CureExtendMetadata: "run `thinctl pool extend {pool} --metadata SIZE`, or remove volumes",
	thinpool.CureReadInactive: "run `thinctl pool extend {pool} --metadata SIZE`, or remove volumes, " +
		"or read it while it is inactive",
	thinpool.CureGiveSizes: ": give the new size with --data or --metadata",
	thinpool.CureDeferred:  ", or use --deferred to remove it when it is closed",
	thinpool.CureReleaseSnapshot: "if nothing reads the pool: " +
		"`dmsetup message {path} 0 release_metadata_snap`",

	thinpool.CureAccept: "to use it as it is, run `thinctl pool activate {pool} --accept {path}`",
	thinpool.CureAcceptOlder: "to use it as it is, run `thinctl pool activate {pool} --accept {path}`: " +
		"what was written since is lost",
	thinpool.CureAcceptCopy: "to use {path} instead, run `thinctl pool activate {pool} --accept {path}`",
	thinpool.CureAcceptShort: "to use the pool without it, run `thinctl pool activate {pool} --accept {path}`: " +
		"that data then reads as zeros",
	thinpool.CureTruncate: "to use the pool without it, run `truncate --size {size} {path}`: " +
		"that data then reads as zeros",
	thinpool.CureDeactivateFirst: "run `thinctl pool deactivate {pool}` before other disks are accepted",
	thinpool.CureAttachExpected: "run `thinctl pool deactivate {pool}`, attach the expected disk, " +
		"then activate it",
	thinpool.CureAttachAgain:  "run `thinctl pool deactivate {pool}`, attach the disk again, then activate it",
	thinpool.CureResumeDevice: "run `dmsetup resume {path}`, then retry",
	thinpool.CureNameData:     nameDevice("data"),
	thinpool.CureNameMetadata: nameDevice("metadata"),

	thinpool.CureForce:        ": wipe it, or give --force to destroy what is on it",
	thinpool.CureShowUsers:    ": `lsblk {path}` shows it",
	thinpool.CureRemoveDevice: ": remove it with `dmsetup remove`",
	thinpool.CureLoadModule:   "load the module with `modprobe dm_thin_pool`",
	thinpool.CureFreeLoops:    "`losetup --list` shows the loop devices: detach those that are not needed",

	thinpool.CureRepairInactive: "`thinctl pool deactivate {pool}`, then `thinctl pool repair {pool}`",
	thinpool.CureUndo:           "the next change or `thinctl pool repair {pool}` undoes it",
	thinpool.CureFinish:         "`thinctl pool repair {pool}` finishes it",
	thinpool.CureResume:         "`thinctl pool repair {pool}` resumes it",
	thinpool.CureRemove:         "`thinctl pool repair {pool}` removes it",
	thinpool.CureRemoveClosed:   "`thinctl pool repair {pool}` removes it when it is closed",
	thinpool.CureRebuild:        "`thinctl pool repair {pool}` rebuilds what can be read and keeps the damaged copy",
	thinpool.CureAdopt:          "`thinctl pool repair {pool}` makes a volume of it",
	thinpool.CureDropRecord: "put the metadata back that has it, or `thinctl pool repair {pool}` drops its record; " +
		"all other volumes are kept",
	thinpool.CureAgree: "otherwise `thinctl pool repair {pool}` makes the database agree with the metadata",
}

func nameDevice(part string) string {
	return "if the pool is on files, put it back; if it is on block devices, name that of the " + part +
		": thinctl pool repair {pool} --" + part + "-device PATH; " +
		"without it the contents of all volumes are lost, and only the files in {path} are kept"
}

// layerSentences are the sentences for the cures of package layers.
var layerSentences = map[layers.CureCode]string{
	layers.CureList:        "`thinctl {what} list` shows what there is",
	layers.CureCheck:       "run `thinctl pool check`",
	layers.CureUnmount:     "run `thinctl container unmount {pool} {container}`, or stop the process that reads it",
	layers.CureLarger:      "use a larger volume with --size {size} or more",
	layers.CureLargerOrXFS: "use a larger volume with --size {size} or more, or {xfs}",
	layers.CureXFS:         "use {xfs}",
	layers.CureXFSBelow: "the layers below are on ext4: remove the images that have them, " +
		"run `thinctl image prune {pool}`, then use {xfs}",
}

// sentence returns the sentence for a cure, "" for none.
func sentence(cure fault.Cure) string {
	switch c := cure.(type) {
	case thinpool.Cure:
		return strings.NewReplacer("{pool}", c.Pool, "{path}", c.Path, "{size}", fmt.Sprint(uint64(c.Size))).
			Replace(poolSentences[c.Code])
	case snapshots.PoolFull:
		return fmt.Sprintf("run `thinctl pool extend %s --data SIZE`, or remove images and containers", c.Pool)
	case layers.Cure:
		xfs := "--fs xfs"
		if c.XFS > 0 {
			xfs += " --size " + c.XFS.Exact()
		}
		return strings.NewReplacer("{pool}", c.Pool, "{container}", c.Container, "{what}", c.What,
			"{size}", c.Size.Exact(), "{xfs}", xfs).Replace(layerSentences[c.Code])
	}
	return ""
}

// keptSentence returns the sentence for a volume that is kept for another purpose.
func keptSentence(err *thinpool.KeptError) string {
	switch err.For {
	case "":
		return fmt.Sprintf("use `thinctl volume %s %s %s`", err.Op, err.Pool, err.Volume)
	case "container", "layer":
		return fmt.Sprintf("use the `thinctl %s` commands", err.For)
	case "containerd":
		return "use `ctr snapshots` or another client of containerd"
	}
	return "remove the images and containers that need it"
}
