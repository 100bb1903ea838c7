// Package crash stops thinctl on a real kernel, wherever it can be stopped, and
// looks at what is left. In the lab's guest, as root:
//
//	go test -tags kernel -count=1 -exec "$PWD/tests/lab/run --" ./tests/crash
//
// kills a process at steps of every operation, and lets two processes
// drive one pool at once. Package poweroff, beside it, cuts the guest's power.
//
// # Words
//
// A step is what thinpooltest calls one: a call to kernel, loops or disks, or a
// transaction of the database. A mark is a value written to a volume's block
// such that every sector of it can be told from any other; see [Marks].
//
// # Caveats
//
// A process is killed before a step. Being killed after it is being killed
// before the next one: nothing outside the process changes between them but
// what the next step's count covers, and one more kill follows the last step.
// A kill within a step is what the power cuts are for.
package crash
