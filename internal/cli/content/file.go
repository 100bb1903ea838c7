package content

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/internal/newfile"
	"thinctl/units"
)

// raw returns standard output for binary output, and fails if it is a terminal.
func raw(c *command.Call, flag string) (io.Writer, error) {
	if c.ColorOn {
		return nil, c.Misuse("the result is binary, and standard output is a terminal: name a file with %s", flag)
	}
	return c.Out, nil
}

// OutputFlag returns --output of commands that write archives.
func OutputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"},
		Usage: "write to a new `FILE`, which appears when it is complete; - is standard output"}
}

// SavedView is the result of a command that wrote a file.
type SavedView struct {
	output.PoolHead
	Output string      `json:"output"`
	Bytes  units.Bytes `json:"bytes"`
	Images []ImageView `json:"images,omitempty"`
	noun   string
}

// NewSavedView returns the result of writing what noun names to a file.
func NewSavedView(head output.PoolHead, noun string) SavedView {
	return SavedView{PoolHead: head, noun: noun}
}

func (v SavedView) write(w io.Writer) {
	fmt.Fprintf(w, "%s written to %s, %s\n", v.noun, v.Output, output.HumanSize(v.Bytes))
}

// ToFile writes to the new file that a flag names and shows view, or writes to standard output and
// shows nothing.
func ToFile(c *command.Call, flag string, view *SavedView, write func(io.Writer) error) (err error) {
	path := c.Flags.String(flag)
	if path == "" && c.Flags.IsSet(flag) {
		return c.Misuse("--%s needs a file name", flag)
	}
	if path == "" || path == "-" {
		out, err := raw(c, "--"+flag)
		if err != nil {
			return err
		}
		return write(out)
	}
	file, err := newfile.Create(path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := write(file); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := file.Commit(); err != nil {
		return err
	}
	view.Output, view.Bytes = path, units.Bytes(info.Size())
	return c.Show(*view, view.write)
}
