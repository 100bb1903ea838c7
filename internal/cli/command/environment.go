// Package command runs one command: it opens the host and the pool, reads flags and arguments, asks for confirmation
// and shows the result.
package command

import (
	"io"
	"log/slog"

	"thinctl/internal/doctor"
	"thinctl/internal/metadatafile"
	"thinctl/thinpool"
)

// Environment is the program with all that it touches, so that tests can give it a
// host in memory.
type Environment struct {
	In         io.Reader
	Out, Err   io.Writer
	Getenv     func(string) string
	EUID       func() int
	Keyboard   bool // standard input is a terminal
	Dialog     bool // somebody is there to answer
	ProgressOn bool
	ColorOn    bool // standard output is a terminal
	Columns    int  // that it has; 0 where it is none

	OpenHost func(*slog.Logger) (thinpool.Host, io.Closer, error)
	Files    FileSystems
	Probe    doctor.Probe
	Metadata metadatafile.Host

	Completing string // the word under the cursor
}
