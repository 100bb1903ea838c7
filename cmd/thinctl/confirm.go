package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// confirm asks on the terminal for the word that must be typed. Without a
// terminal nothing is done without --yes.
func (c *call) confirm(what, word string) error {
	if c.flags.Bool("yes") {
		return nil
	}
	if !c.dialog {
		return &usageError{why: c.name() + " asks before it destroys, and nobody is at a terminal", remedy: "say --yes if that is meant, or --dry-run to see what would go"}
	}
	fmt.Fprintf(c.err, "%s\nType %q to go on: ", what, word)
	answer, err := c.readLine()
	if err != nil {
		return err
	}
	if strings.TrimSpace(answer) != word {
		return &usageError{why: "that is not " + word + ": nothing was changed"}
	}
	return nil
}

// readLine reads an answer; an interrupt ends the wait, not the read.
func (c *call) readLine() (string, error) {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := bufio.NewReader(c.in).ReadString('\n')
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		if a.text == "" && a.err != nil {
			return "", &usageError{why: "no answer was given: nothing was changed"}
		}
		return a.text, nil
	case <-c.ctx.Done():
		return "", context.Cause(c.ctx)
	}
}
