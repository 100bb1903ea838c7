// Package debian gets programs for tests from Debian's packages if the machine does
// not have them.
//
// Words: a package is unpacked when its files are written to a directory of the
// user's cache. Nothing of it runs, no service and no script, and root is not
// needed. A package is installed when apt-get installs it, as root.
//
// Caveats: dependencies are not unpacked, so this is for programs that need only the
// C library, such as those written in Go. A program on PATH is preferred to both.
// Package lists are updated, as root, if a package is not found.
//
//	promtool, err := debian.Unpacked(ctx, "promtool", "prometheus")
//	rpm, err := debian.Installed(ctx, "rpm", "rpm")
package debian
