// Package terminal talks to the user: prompts, and lines that show progress.
package terminal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"thinctl/internal/cli/exit"
)

// Ask shows a question and reads an answer, which must be word.
func Ask(ctx context.Context, in io.Reader, out io.Writer, what, word string) error {
	fmt.Fprintf(out, "%s\nType %q to continue: ", what, word)
	answer, err := readLine(ctx, in)
	if err != nil {
		return err
	}
	if strings.TrimSpace(answer) != word {
		return &exit.UsageError{Why: "the answer is not " + word + ": nothing was changed"}
	}
	return nil
}

// readLine reads an answer. The end of the context ends the wait, not the read.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := bufio.NewReader(in).ReadString('\n')
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		if a.text == "" && a.err != nil {
			return "", &exit.UsageError{Why: "no answer was given: nothing was changed"}
		}
		return a.text, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
