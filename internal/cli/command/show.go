package command

import (
	"io"
	"log/slog"
	"time"

	docker "github.com/docker/go-units"

	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/internal/cli/terminal"
	"thinctl/thinpool/metadata"
)

// Ago returns the age of an object. Reproducible builds set the Unix epoch as the time of
// creation, which has no age.
func (c *Call) Ago(t time.Time) string {
	if t.Unix() <= 0 {
		return "N/A"
	}
	return docker.HumanDuration(c.now().Sub(t)) + " ago"
}

func (c *Call) now() time.Time {
	if c.Host.Now != nil {
		return c.Host.Now()
	}
	return time.Now()
}

// Digits returns an id, shortened unless --no-trunc is given.
func (c *Call) Digits(id string) string {
	if c.Flags.Bool("no-trunc") {
		return id
	}
	return output.ShortID(id)
}

func (a *Environment) line() terminal.Progress {
	return terminal.Progress{Out: a.Err, Enabled: a.ProgressOn}
}

// Progress shows a line on a terminal if the work takes long. done removes the line.
func (a *Environment) Progress(format string, args ...any) (done func()) {
	return a.line().Start(format, args...)
}

// Reading is Progress with the number of metadata blocks that were read, of those that are needed
// as far as is known.
func (a *Environment) Reading(format string, args ...any) (read func(metadata.Progress), done func()) {
	return a.line().Reading(format, args...)
}

// Moving is Progress with the number of bytes so far.
func (a *Environment) Moving(format string, args ...any) (moved func(int64), done func()) {
	return a.line().Moving(format, args...)
}

// LayerLines shows the progress of layers, base first. It shows nothing with --json or --quiet.
func (c *Call) LayerLines(ids []string) *terminal.Layers {
	return terminal.NewLayers(c.Err, c.ProgressOn, c.Flags.Bool("json") || c.Flags.Bool("quiet"), ids)
}

// Confirm asks the user to type word. Without a terminal it fails unless --yes is given.
func (c *Call) Confirm(what, word string) error {
	if c.Flags.Bool("yes") {
		return nil
	}
	if !c.Dialog {
		return &exit.UsageError{Why: c.name() + ": confirmation is needed, and there is no terminal to ask on",
			Remedy: "use --yes to confirm, or --dry-run to see what would be removed"}
	}
	return terminal.Ask(c.Ctx, c.In, c.Err, what, word)
}

// Show writes a result: view as JSON with --json, otherwise the output of text, whose tabs become
// columns.
func (c *Call) Show(view any, text func(w io.Writer)) error {
	c.writeWarnings()
	if c.Flags.Bool("json") {
		return output.WriteJSON(c.Out, view)
	}
	return output.WriteTable(c.Out, text)
}

// List writes the fields of head, the items that each passes to add, and the tail that each
// returns.
func (c *Call) List(head any, name string, columns []any,
	each func(add func(item any, cells ...any) error) (output.Tail, error)) error {
	return output.WriteListing(c.Out, c.Flags.Bool("json"), head, name, columns, each)
}

// Colored reports whether the result may have colors.
func (c *Call) Colored() bool {
	return c.ColorOn && c.Getenv("NO_COLOR") == "" && !c.Flags.Bool("no-color")
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
