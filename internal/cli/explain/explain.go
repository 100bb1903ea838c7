// Package explain has the command that prints runbooks.
package explain

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/docs/runbooks"
	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
)

// Command returns `thinctl explain`.
func Command(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "explain", Args: "[CODE]", Usage: "print the runbook of a condition in an alert or in the log",
		About: "Without a code: lists all conditions and procedures that have a runbook.",
		Run:   explainCode,
		Complete: func(c *command.Call) []string {
			if len(c.Args) > 0 {
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

func explainCode(c *command.Call) error {
	if len(c.Args) == 0 {
		return listRunbooks(c)
	}
	text, known := runbooks.Text(c.Arg(0))
	if !known {
		return exit.Errorf(fault.NotFound, "explain %s: there is no such runbook; `thinctl explain` lists all",
			c.Arg(0))
	}
	one := viewRunbook(c.Arg(0))
	one.Text = text
	view := struct {
		output.Envelope
		runbookView
	}{output.Schema(), one}
	if c.Flags.Bool("json") {
		return c.Show(view, nil)
	}
	_, err := io.WriteString(c.Out, text)
	return err
}

func listRunbooks(c *command.Call) error {
	view := struct {
		output.Envelope
		Conditions []runbookView `json:"conditions"`
		Procedures []runbookView `json:"procedures"`
	}{output.Schema(), []runbookView{}, []runbookView{}}
	for _, code := range runbooks.Codes() {
		view.Conditions = append(view.Conditions, viewRunbook(code))
	}
	for _, name := range runbooks.Procedures() {
		view.Procedures = append(view.Procedures, viewRunbook(name))
	}
	return c.Show(view, func(w io.Writer) {
		output.Row(w, "CODE", "MEANING")
		for _, one := range view.Conditions {
			output.Row(w, one.Code, one.Sentence)
		}
		fmt.Fprintln(w)
		output.Row(w, "PROCEDURE", "PURPOSE")
		for _, one := range view.Procedures {
			output.Row(w, one.Code, one.Title)
		}
	})
}
