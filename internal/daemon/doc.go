// Package daemon watches pools and extends them before they are full. It samples each
// pool after events of the kernel and by a timer, extends data and metadata, and serves
// the samples as metrics.
//
// # Words
//
// A poll is one round over a pool: the daemon takes a sample, acts on it, and takes
// another sample to see the result. A condition is a state that needs the user's
// attention; its code is stable, and package runbooks has a text for it. A threshold is
// passed when too much of a space is used. Maintenance is work that may take long:
// discarding the blocks of removed volumes, trimming, exact scans.
//
// # How it watches
//
//	events of the pool --+                  +-> extend -> new sample
//	timer ---------------+--> poll: sample -+-> activate, full policy, held root
//	reload --------------+                  +-> conditions -> published
//
// The daemon acts on a passed threshold within the interval plus the cool-down. The
// kernel raises the low-water event once for each resume of the pool, so the daemon does
// not rely on it alone. A space that is nearly full does not wait for the cool-down after
// a successful extension.
//
// # Snapshotters
//
// The daemon serves a snapshotter for each containerd in the configuration. Its socket
// exists as soon as its pool can be opened. It answers requests when the pool is active
// and the unfinished changes of killed processes are recovered. The daemon waits for that
// before it reports that it is ready. A failed snapshotter is started again, and does not
// affect the others. A reload starts the snapshotters of new tables, stops those of
// removed tables after their pending requests, and restarts those of changed tables.
//
// # Caveats
//
// The daemon holds locks only while it changes something, so that commands work
// concurrently. One daemon serves a root; a second one is refused. Devices stay as they
// are when the daemon ends. The daemon does not activate a pool that a user deactivated.
//
// # Example
//
//	d, err := daemon.New(daemon.Options{Host: host, Files: files, Config: settings, Logger: logger})
//	if err != nil {
//		return err
//	}
//	return d.Run(ctx) // until ctx ends
package daemon
