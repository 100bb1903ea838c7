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

// Environment is everything outside the program that a command uses, so that tests can replace it.
type Environment struct {
	In         io.Reader
	Out, Err   io.Writer
	Getenv     func(string) string
	EUID       func() int
	Keyboard   bool // standard input is a terminal
	Dialog     bool // a user can answer prompts
	ProgressOn bool
	ColorOn    bool // standard output is a terminal
	Columns    int  // of the terminal; 0 without one

	OpenHost func(*slog.Logger) (thinpool.Host, io.Closer, error)
	Files    FileSystems
	Probe    doctor.Probe
	Metadata metadatafile.Host

	Completing string // the word under the cursor
}
