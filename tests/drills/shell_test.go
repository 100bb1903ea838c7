package drills

import (
	"context"
	"testing"
	"time"
)

func TestShell(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	shell, err := NewShell(ctx, map[string]string{"POOL": "a b"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		command, output string
		code            int
	}{
		{`echo "$POOL"`, "a b\n", 0},
		{"printf x", "x", 0},
		{"true", "", 0},
		{"NAME=a-b", "", 0},
		{"echo ${NAME//-/--}", "a--b\n", 0},
		{"(echo one; echo two >&2; exit 6)", "one\ntwo\n", 6},
		{"echo $?", "6\n", 0},
		{"cat", "", 0}, // there is no terminal
		{"false", "", 1},
	} {
		output, code, err := shell.Run(test.command)
		if err != nil || output != test.output || code != test.code {
			t.Errorf("%s: %q, exit status %d, %v; want %q, %d", test.command, output, code, err, test.output, test.code)
		}
	}
	if _, _, err := shell.Run("exit 3"); err == nil {
		t.Error("a closed shell runs a command")
	}
	if err := shell.Close(); err != nil {
		t.Log(err)
	}
}
