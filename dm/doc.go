// Package dm drives the kernel's device mapper through its control node, in
// pure Go.
//
// # Words
//
// A device has a name, a uuid and a number, and two slots for a table: Load
// fills the inactive slot, Resume makes it live. A table is a list of targets,
// each serving a range of sectors. A thin-pool target keeps data blocks on one
// device and says on another, the metadata device, which thin volume owns
// which of them; a thin target is one such volume.
//
// udev keeps links to devices under /dev/mapper; a cookie is a semaphore that its
// rules count down when they are done with a change. A quiet change is one that udev
// is not waited for; its device has a node of its own, under /dev/thinctl.
// With DM_DISABLE_UDEV set, in an IPC namespace that udevd does not share, and once
// a wait has run out, no change of the process is waited for.
//
// # Caveats
//
// The kernel does not check that the origin of a snapshot is suspended or
// inactive; callers do, or the snapshot is corrupt. A status commits the
// pool's metadata unless StatusOptions.NoFlush is set. A pool that needs a
// check skips growth in silence: compare totals after each resize.
//
// # Example
//
//	kernel, err := dm.Open(dm.Options{})
//	if err != nil {
//		return err
//	}
//	defer kernel.Close()
//	if _, err := kernel.Create(ctx, "vault", "VAULT-1"); err != nil {
//		return err
//	}
//	table := []dm.Target{dm.Linear{Length: 2048, Dev: blockdev.Number{Major: 7, Minor: 0}}}
//	if err := kernel.Load(ctx, dm.ByName("vault"), table, dm.LoadOptions{}); err != nil {
//		return err
//	}
//	info, err := kernel.Resume(ctx, dm.ByName("vault"), dm.ResumeOptions{})
//
// [Control] is the real kernel; package dmtest holds one in memory that keeps
// the same contract, proven by one suite run against both.
package dm
