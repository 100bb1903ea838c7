// Package remedy writes the sentences with commands that follow an error. The packages
// below report a cure as a value, because they have no commands. The command line, the
// daemon's log and the answers to containerd print errors with [Text] and [Add].
package remedy

import (
	"log/slog"
	"strings"

	"thinctl/fault"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

// Text returns the text of an error with the sentence of each cure in its chain. A
// sentence follows the text of the error that has the cure.
func Text(err error) string {
	text := err.Error()
	if _, complete := err.(*complete); complete { //nolint:errorlint // a deeper one is a part of the text
		return text
	}
	before := ""
	for _, cause := range causes(err) {
		short, long := cause.Error(), Text(cause)
		if short == long {
			continue
		}
		if head, tail, found := strings.Cut(text, short); found {
			before, text = before+head+long, tail
		}
	}
	return join(before+text, sentenceOf(err))
}

// Add returns an error with the text that [Text] returns. It wraps err, unless err is nil
// or has no cure.
func Add(err error) error {
	if err == nil {
		return nil
	}
	text := Text(err)
	if text == err.Error() {
		return err
	}
	return &complete{err: err, text: text}
}

// complete is an error whose text has the sentences already.
type complete struct {
	err  error
	text string
}

func (c *complete) Error() string { return c.text }

func (c *complete) Unwrap() error { return c.err }

// Finding returns the detail and the remedy of a finding, with their sentences.
func Finding(f thinpool.Finding) (detail, remedy string) {
	if detail = f.Detail; f.Err != nil {
		detail = Text(f.Err)
	}
	return detail, join(f.Remedy, sentence(f.Cure))
}

// LogAttr completes the errors in log records. It is a ReplaceAttr of [slog.HandlerOptions].
func LogAttr(_ []string, a slog.Attr) slog.Attr {
	if err, is := a.Value.Any().(error); is {
		a.Value = slog.StringValue(Text(err))
	}
	return a
}

// causes returns the errors that err wraps.
func causes(err error) []error {
	switch e := err.(type) { //nolint:errorlint // Text checks each node of the tree separately
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			return []error{cause}
		}
	}
	return nil
}

// sentenceOf returns the sentence for an error itself, without its causes.
func sentenceOf(err error) string {
	switch e := err.(type) { //nolint:errorlint // Text checks each node of the tree separately
	case *thinpool.Error:
		return sentence(e.Cure)
	case *snapshots.Error:
		return sentence(e.Cure)
	case *fault.Error:
		return sentence(e.Cure)
	case *thinpool.KeptError:
		return keptSentence(e)
	}
	return ""
}

// join appends a sentence to a text. A sentence that begins with a colon or a comma
// continues the text.
func join(text, sentence string) string {
	if text == "" || sentence == "" || strings.ContainsRune(":,", rune(sentence[0])) {
		return text + sentence
	}
	return text + "; " + sentence
}
