// Package crash stops thinctl on a real kernel at steps of its operations, and
// verifies what is left. In the lab's guest, as root:
//
//	go test -tags kernel -count=1 -exec "$PWD/tests/lab/run --" ./tests/crash
//
// kills a process at steps of every operation, and drives one pool from two
// processes concurrently. Package poweroff, beside it, cuts the guest's power.
//
// # Words
//
// A step is a step of thinpooltest: a call to kernel, loops or disks, or a
// transaction of the database. A mark is a value written to a volume's block. Every
// sector of it differs from any other; see [Marks].
//
// # Caveats
//
// A process is killed before a step. A kill after a step is a kill before the next
// one: between them nothing outside the process changes, and one more kill follows
// the last step. Power cuts cover the kills within a step.
package crash
