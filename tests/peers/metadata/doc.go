// Command metadata measures package metadata beside thin-provisioning-tools on
// the same files, in one run: `make bench-metadata`.
//
// Each operation is a process of its own, ours too: this program runs itself
// with -op. Wall time and the largest resident set are the kernel's figures.
package main
