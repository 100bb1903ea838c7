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

// Ago tells how long it is that something was made. Builders that want the same
// image each time give the beginning of time.
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

// Digits is an id as far as it is shown.
func (c *Call) Digits(id string) string {
	if c.Flags.Bool("no-trunc") {
		return id
	}
	return output.ShortID(id)
}

func (a *Environment) line() terminal.Progress {
	return terminal.Progress{Out: a.Err, Enabled: a.ProgressOn}
}

// Progress shows on a terminal what is in progress, once it takes long. The
// function that it returns ends that and clears the line.
func (a *Environment) Progress(format string, args ...any) (done func()) {
	return a.line().Start(format, args...)
}

// Reading is progress with the number of metadata blocks that were read, of those
// that are needed as far as is known.
func (a *Environment) Reading(format string, args ...any) (read func(metadata.Progress), done func()) {
	return a.line().Reading(format, args...)
}

// Moving is progress with the number of bytes so far.
func (a *Environment) Moving(format string, args ...any) (moved func(int64), done func()) {
	return a.line().Moving(format, args...)
}

// LayerLines shows the progress of an image's layers of those ids, base first. It
// shows nothing with --json or --quiet.
func (c *Call) LayerLines(ids []string) *terminal.Layers {
	return terminal.NewLayers(c.Err, c.ProgressOn, c.Flags.Bool("json") || c.Flags.Bool("quiet"), ids)
}

// Confirm asks on the terminal for the word that must be typed. Without a
// terminal nothing is done without --yes.
func (c *Call) Confirm(what, word string) error {
	if c.Flags.Bool("yes") {
		return nil
	}
	if !c.Dialog {
		return &exit.UsageError{Why: c.name() + ": confirmation is needed, and there is no terminal to ask on", Remedy: "use --yes to confirm, or --dry-run to see what would be removed"}
	}
	return terminal.Ask(c.Ctx, c.In, c.Err, what, word)
}

// Show writes a result: view as JSON with --json, else what text writes, whose
// tabs become columns.
func (c *Call) Show(view any, text func(w io.Writer)) error {
	c.writeWarnings()
	if c.Flags.Bool("json") {
		return output.WriteJSON(c.Out, view)
	}
	return output.WriteTable(c.Out, text)
}

// List writes head's fields, the items that each gives to add, and the fields
// of what each returns, or what that writes as text.
func (c *Call) List(head any, name string, columns []any, each func(add func(item any, cells ...any) error) (output.Tail, error)) error {
	return output.WriteListing(c.Out, c.Flags.Bool("json"), head, name, columns, each)
}

// Colored reports whether the result may have colors.
func (c *Call) Colored() bool {
	return c.ColorOn && c.Getenv("NO_COLOR") == "" && !c.Flags.Bool("no-color")
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
