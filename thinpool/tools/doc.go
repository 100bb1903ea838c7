// Package tools runs thin_check and thin_repair of thin-provisioning-tools on
// the metadata of pools, until a checker in Go takes their place.
//
// # Words
//
//   - To check is to walk the whole metadata and compare it with itself.
//   - needs_check is a flag that the kernel sets when it aborts a transaction; a
//     pool that carries it becomes writable again only when a check has passed
//     and the flag is cleared.
//   - To repair is to write what can still be read of damaged metadata to a
//     fresh device; the damaged one stays as it was.
//
// # Caveats
//
// The pool must not be active: its claim on a block device is told as
// [ErrBusy]. Metadata in a file behind a loop device must be named by that loop
// device, since there is no claim on the file.
//
// A clean check says less than it seems: thin_check 0.9.0 passes over every
// fault of the data space map, mappings beyond the data device and wrong counts
// of mapped blocks.
//
// The tools' exit statuses differ by version (1 in 0.9, 64 in 1.x), and do not
// tell damage from a failed read: any but 0 is [ErrDamaged], and the lines tell
// more.
//
// thin_repair 0.9.0 writes a superblock without the pool's uuid: stamp the
// fresh metadata (thinpool/metadata, Stamp), and check it, before use.
//
// # Example
//
//	report, err := tools.Check(ctx, "/dev/loop4")
//	if errors.Is(err, tools.ErrDamaged) {
//		fmt.Println(strings.Join(report.Lines, "\n"))
//	}
package tools
