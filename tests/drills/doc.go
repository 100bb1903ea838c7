// Package drills holds each runbook to its word: a fault is brought about on a
// real kernel, and the runbook's own commands, out of the text that is built in,
// are pasted into a shell until its Verify holds.
//
//	go test -tags kernel -count=1 -v -exec "$PWD/tests/lab/run --kernel 6.12 --" ./tests/drills
//	go test -tags lab -count=1 ./tests/drills    the reboot, which is a real one
//
// # Words
//
// A drill is a fault, the runbook for it, and what an operator would put into the
// runbook's variables. A case is a heading below the runbook's Act that holds for
// the fault; what stands below other headings is left out. All drills of a
// runbook together paste each of its commands, or the test fails.
//
// # Caveats
//
// Drills work in /var/lib/thinctl, where runbooks look, write to /etc/fstab, and
// take kernel devices away: they are for the lab's guest alone, and refuse to run
// elsewhere.
package drills
