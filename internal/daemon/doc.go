// Package daemon watches pools and keeps them from running full: it samples each
// one at the kernel's events and by a timer, extends data and metadata, and serves
// what it saw.
//
// # Words
//
// A look is one round over a pool: a sample is taken, what it calls for is done,
// and a fresh sample shows what has come of it. A condition is a state that
// somebody should be told of; its code is stable, and package runbooks has a text
// for it. A threshold is passed where too much of a space is used; the room is
// what its backing could still give. A chore is what may take long: giving back
// the blocks of removed volumes, trimming, exact scans.
//
// # How it watches
//
//	events of the pool --+                  +-> extend -> fresh sample
//	timer ---------------+--> look: sample -+-> activate, full policy, held root
//	reload --------------+                  +-> conditions -> published
//
// A threshold that is passed is acted on at the latest after the interval and the
// cool-down. The low-water event comes once for each resume of the pool, so it is
// never relied on alone. A space that is nearly full does not wait for the
// cool-down after an extension that has worked.
//
// # Snapshotters
//
// For each containerd that the configuration has, a snapshotter is served beside
// this: its socket is there once its pool can be opened, and answers once the pool
// is active and what killed processes left is finished, which the daemon waits for
// before it says that it is ready. A fault keeps none of the others, and is tried
// again. A reload begins with tables that are new, ends those that are gone once
// their requests are answered, and does both for those that have changed; the rest
// goes on.
//
// # Caveats
//
// The daemon needs nobody to know of it and holds no lock but while it changes
// something: the command line works beside it. One daemon serves a root; a second
// one is refused. Ending it changes no device. A pool that somebody deactivated by
// hand is left alone.
//
// # Example
//
//	d, err := daemon.New(daemon.Options{Host: host, Files: files, Config: settings, Logger: logger})
//	if err != nil {
//		return err
//	}
//	return d.Run(ctx) // until ctx ends
package daemon
