// Package program runs another program with limits: without a shell and input, until
// its context ends at the latest, and with a limited tail of its output.
//
// Only snapshots/filesystem uses it, the one package that may run programs.
//
// # Words
//
//   - A [Program] is searched in given directories, by default in those of PATH and
//     of the system, as PATH often lacks the latter outside a root shell.
//   - The tail is the last lines of both outputs, without control characters and
//     with a limited length.
//
// # Caveats
//
// A program is killed when its context ends. A program that waits for a device in
// the kernel does not end then. [Run] waits some seconds for it and returns an error
// with the id of the remaining process.
//
// The program runs in a process group of its own, so that Ctrl-C on the terminal
// interrupts only thinctl, and with an environment of PATH and LC_ALL=C only.
//
// # Example
//
//	path, err := program.Program{Name: "mkfs.xfs", Packages: "xfsprogs"}.Find(nil)
//	if err != nil {
//		return err
//	}
//	result, err := program.Run(ctx, path, "-V")
package program
