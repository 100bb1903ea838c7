package main

import (
	"io"
	"log/slog"

	"thinctl/thinpool/metadata"
)

func (a *app) line() progressLine { return progressLine{w: a.err, on: a.progressOn} }

// progress shows on a terminal what is in progress, once it takes long. The
// function that it returns ends that and clears the line.
func (a *app) progress(format string, args ...any) (done func()) {
	return a.line().start(format, args...)
}

// reading is progress with the number of metadata blocks that were read, of those
// that are needed as far as is known.
func (a *app) reading(format string, args ...any) (read func(metadata.Progress), done func()) {
	return a.line().reading(format, args...)
}

// moving is progress with the number of bytes so far.
func (a *app) moving(format string, args ...any) (moved func(int64), done func()) {
	return a.line().moving(format, args...)
}

// layerLines shows the progress of an image's layers of those ids, base first. It
// shows nothing with --json or --quiet.
func (c *call) layerLines(ids []string) *layerLines {
	return newLayerLines(c.err, c.progressOn, c.flags.Bool("json") || c.flags.Bool("quiet"), ids)
}

// confirm asks on the terminal for the word that must be typed. Without a
// terminal nothing is done without --yes.
func (c *call) confirm(what, word string) error {
	if c.flags.Bool("yes") {
		return nil
	}
	if !c.dialog {
		return &usageError{why: c.name() + " asks before it destroys, and nobody is at a terminal", remedy: "say --yes if that is meant, or --dry-run to see what would go"}
	}
	return ask(c.ctx, c.in, c.err, what, word)
}

// show writes a result: view as JSON with --json, else what text writes, whose
// tabs become columns.
func (c *call) show(view any, text func(w io.Writer)) error {
	c.writeWarnings()
	if c.flags.Bool("json") {
		return writeJSON(c.out, view)
	}
	return writeTable(c.out, text)
}

// list writes head's fields, the items that each gives to add, and the fields
// of what each returns, or what that writes as text.
func (c *call) list(head any, name string, columns []any, each func(add func(item any, cells ...any) error) (tail, error)) error {
	return writeListing(c.out, c.flags.Bool("json"), head, name, columns, each)
}

// colored reports whether the result may have colors.
func (c *call) colored() bool {
	return c.colorOn && c.getenv("NO_COLOR") == "" && !c.flags.Bool("no-color")
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
