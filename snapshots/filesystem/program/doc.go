// Package program runs another program within bounds: no shell, no input, a
// bounded tail of its output, and no longer than its context.
//
// It serves snapshots/filesystem, the only place that may run programs at all.
//
// # Words
//
//   - A [Program] is looked for in given folders, by default those of PATH and
//     the system's, since PATH often lacks the latter outside a root's shell.
//   - The tail is the last lines that it wrote to either output, made fit for a
//     message: no control characters, no overlong lines.
//
// # Caveats
//
// A program is killed when its context ends. One that waits for a device in the
// kernel does not die then; [Run] gives it some seconds, and returns with an
// error that names the process it leaves behind.
//
// It gets a process group of its own, so that Ctrl-C on the terminal reaches
// thinctl alone, and an environment of PATH and LC_ALL=C only.
//
// # Example
//
//	path, err := program.Program{Name: "mkfs.xfs", Packages: "xfsprogs"}.Find(nil)
//	if err != nil {
//		return err
//	}
//	result, err := program.Run(ctx, path, "-V")
package program
