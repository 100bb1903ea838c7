// Command metadata compares package metadata with thin-provisioning-tools on the same
// files: `make bench-metadata`.
//
// Each operation runs in its own process: for the operations of thinctl this program
// starts itself with -op. Wall time and the largest resident set come from the kernel.
package main
