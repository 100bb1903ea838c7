package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/docs/runbooks"
	"thinctl/thinpool"
)

func (a *app) explainCommand() *cli.Command {
	return a.leaf(leaf{
		name: "explain", args: "[CODE]", usage: "show what to do about a condition that an alert or the log tells of",
		about: "Without a code: all of them, and the procedures that have a runbook too.",
		run:   (*call).explainCode,
		complete: func(c *call) []string {
			if len(c.args) > 0 {
				return nil
			}
			return runbooks.Names()
		},
	})
}

type runbookView struct {
	Code     string `json:"code"`
	Title    string `json:"title"`
	Sentence string `json:"sentence"`
	// Text is the runbook, in Markdown.
	Text string `json:"text,omitempty"`
}

func viewRunbook(code string) runbookView {
	return runbookView{Code: code, Title: runbooks.Title(code), Sentence: runbooks.Sentence(code)}
}

func (c *call) explainCode() error {
	if len(c.args) == 0 {
		return c.listRunbooks()
	}
	text, known := runbooks.Text(c.arg(0))
	if !known {
		return failed(thinpool.ErrNotFound, "explain %s: no runbook has that name; `thinctl explain` shows all", c.arg(0))
	}
	one := viewRunbook(c.arg(0))
	one.Text = text
	view := struct {
		envelope
		runbookView
	}{schema(), one}
	if c.flags.Bool("json") {
		return c.show(view, nil)
	}
	_, err := io.WriteString(c.out, text)
	return err
}

func (c *call) listRunbooks() error {
	view := struct {
		envelope
		Conditions []runbookView `json:"conditions"`
		Procedures []runbookView `json:"procedures"`
	}{schema(), []runbookView{}, []runbookView{}}
	for _, code := range runbooks.Codes() {
		view.Conditions = append(view.Conditions, viewRunbook(code))
	}
	for _, name := range runbooks.Procedures() {
		view.Procedures = append(view.Procedures, viewRunbook(name))
	}
	return c.show(view, func(w io.Writer) {
		row(w, "CODE", "WHAT IT MEANS")
		for _, one := range view.Conditions {
			row(w, one.Code, one.Sentence)
		}
		fmt.Fprintln(w)
		row(w, "PROCEDURE", "WHAT IT IS")
		for _, one := range view.Procedures {
			row(w, one.Code, one.Title)
		}
	})
}
