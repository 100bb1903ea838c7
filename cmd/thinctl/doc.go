// Command thinctl is the command line of the thin-provisioning storage manager. Its
// commands are in thinctl/internal/cli.
//
// Results go to standard output, as tables or, with --json, as one JSON object with
// schema_version, sizes in bytes and times as RFC 3339. Everything else goes to standard
// error. The exit codes are in package exit.
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
