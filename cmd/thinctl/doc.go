// Command thinctl is the command line of the thin-provisioning storage manager.
// It parses, calls packages images, snapshots and thinpool, and prints; what it decides itself is only
// what belongs to a terminal.
//
// # Words
//
// The words of a command line are arranged before urfave/cli sees them (see
// line.go): that library stops looking for flags at the first argument, and
// would destroy on `thinctl pool destroy p1 --dry-run`.
//
// Results go to standard output, as tables or, with --json, as one JSON object
// with schema_version, sizes in bytes and times as RFC 3339. All else goes to
// standard error. The exit codes are in exit.go.
//
// # Example
//
//	thinctl pool create vault --data-size 20G
//	thinctl volume create vault base --fs xfs
//	thinctl volume mount vault/base
//	thinctl pool status vault --json
//	thinctl image load vault -i debian.tar
//	thinctl container create vault debian:12 --name web
package main
