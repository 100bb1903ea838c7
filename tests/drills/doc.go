// Package drills tests each runbook: it causes a fault on a real kernel, and runs
// the runbook's own commands, from the text that is built in, in a shell until the
// section Verify holds.
//
//	go test -tags kernel -count=1 -v -exec "$PWD/tests/lab/run --kernel 6.12 --" ./tests/drills
//	go test -tags lab -count=1 ./tests/drills    the reboot, which is a real one
//
// # Words
//
// A drill is a fault, the runbook for it, and the values that an operator would put
// into the runbook's variables. A case is a heading below the runbook's Act that
// applies to the fault; text below other headings is left out. The drills of a
// runbook must run each of its commands, or the test fails.
//
// # Caveats
//
// Drills work in /var/lib/thinctl, as runbooks do, write to /etc/fstab, and remove
// kernel devices. They are for the lab's guest alone, and refuse to run elsewhere.
package drills
