package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/internal/cli/command"
	"thinctl/internal/doctor"
	"thinctl/internal/metadatafile"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/metadatatest"
	"thinctl/thinpool/metadata"
)

// docsFiles returns the files in the examples of docs/metadata.md.
func docsFiles() map[string]string {
	return map[string]string{"meta": "", "leaky": "damage leak/data", "broken": "damage checksum/device's mapping tree"}
}

// TestMetadataDocs checks the table of codes in docs/metadata.md, and that each example shows the
// output of its commands.
func TestMetadataDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/metadata.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| code | meaning |\n|---|---|\n")
	for _, code := range metadata.Codes() {
		fmt.Fprintf(&table, "| `%s` | %s |\n", code, code.Meaning())
	}
	if !strings.Contains(string(text), "\n\n"+table.String()+"\n") {
		t.Errorf("the table of codes should be\n%s", &table)
	}

	t.Chdir(t.TempDir())
	for name, kind := range docsFiles() {
		if err := metadatatest.WriteFile(name, kind); err != nil {
			t.Fatal(err)
		}
	}
	examples := 0
	for i, block := range strings.Split(string(text), "\n```") {
		if i%2 == 0 { // not inside
			continue
		}
		example := strings.TrimPrefix(block, "console\n") + "\n"
		if got := replay(t, example); got != example {
			t.Errorf("the example should be\n%s", got)
		}
		examples++
	}
	if examples < 8 {
		t.Errorf("got %d examples, want more", examples)
	}
}

// replay runs the commands of an example and returns them with their output.
func replay(t *testing.T, example string) string {
	var shown bytes.Buffer
	code := 0
	for line := range strings.Lines(example) {
		words := strings.Fields(line)
		switch {
		case !strings.HasPrefix(line, "$ "):
			continue
		case line == "$ echo $?\n":
			fmt.Fprintf(&shown, "%s%d\n", line, code)
		default:
			shown.WriteString(line)
			host := newFakeHost(dmtest.Options{})
			a := &command.Environment{In: strings.NewReader(""), Out: &shown, Err: &shown, Getenv: func(string) string { return "" }, EUID: os.Geteuid,
				OpenHost: host.open, Files: newFakeFiles(host.kernel), Probe: doctor.Local(), Metadata: metadatafile.Local()}
			code = run(context.Background(), a, append([]string{"--root=" + filepath.Join(t.TempDir(), "root")}, words[2:]...))
		}
	}
	return shown.String()
}
