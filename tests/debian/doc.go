// Package debian gets programs that tests compare with or ask for a verdict out
// of Debian's packages, where the machine does not have them.
//
// Words: a package is unpacked when its files are laid into a folder of the
// user's cache and nothing of it runs: no service starts, no script, and root is
// not needed; it is installed when apt-get does it, as root.
//
// Caveats: what is unpacked gets no packages that it depends on, so that is for
// programs that need the C library alone, as those written in Go; a program that
// is on PATH goes before both. Apt's lists are got anew, as root, where it does not
// find what it is asked for.
//
//	promtool, err := debian.Unpacked(ctx, "promtool", "prometheus")
//	rpm, err := debian.Installed(ctx, "rpm", "rpm")
package debian
