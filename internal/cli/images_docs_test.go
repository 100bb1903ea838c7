package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/commandline"
	"thinctl/internal/doctor"
	"thinctl/internal/testkit/imagetest"
	"thinctl/internal/testkit/need"
	"thinctl/internal/testkit/snapshotstest"
)

// TestImagesDocs checks that each example of docs/images.md shows the output of its commands,
// except for ids.
func TestImagesDocs(t *testing.T) {
	need.Root(t)
	text, err := os.ReadFile("../../docs/images.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	d := newDocsMachine(t)
	examples := 0
	for i, block := range strings.Split(string(text), "\n```") {
		if i%2 == 0 { // not inside
			continue
		}
		example := strings.TrimPrefix(block, "console\n") + "\n"
		if got := d.replay(example); withoutIDs(got) != withoutIDs(example) {
			t.Errorf("the example should be\n%s", got)
		}
		examples++
	}
	if examples < 5 {
		t.Errorf("only %d examples", examples)
	}
	d.syntax(string(text))
}

func withoutIDs(text string) string {
	return regexp.MustCompile(`\b[0-9a-f]{12}([0-9a-f]{52})?\b`).ReplaceAllStringFunc(text, func(id string) string {
		return strings.Repeat("x", len(id))
	})
}

// docsMachine runs the examples in order.
type docsMachine struct {
	*testing.T
	fixture *snapshotstest.Fixture
	host    *fakeHost
	mnt     string
}

func newDocsMachine(t *testing.T) *docsMachine {
	fixture := snapshotstest.New(t)
	fixture.Space = plentyOfSpace
	d := &docsMachine{T: t, fixture: fixture, host: &fakeHost{kernel: fixture.Kernel, loops: fixture.Loops, fixture: fixture}, mnt: t.TempDir()}
	base, app := scriptImages()
	base.Names, app.Names = []string{"debian:12"}, []string{"shop:1"}
	var archive bytes.Buffer
	if err := imagetest.WriteDocker(&archive, must(imagetest.Build(base)), must(imagetest.Build(app))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("images.tar", archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// replay runs the commands of an example and returns them with their output.
func (d *docsMachine) replay(example string) string {
	var shown bytes.Buffer
	code := 0
	for line := range strings.Lines(example) {
		if !strings.HasPrefix(line, "$ ") {
			continue
		}
		shown.WriteString(line)
		words := d.words(line)
		switch {
		case line == "$ echo $?\n":
			fmt.Fprintln(&shown, code)
		case words[0] == "thinctl":
			var out bytes.Buffer
			code = run(context.Background(), d.app(&out), append([]string{"--root=" + d.fixture.Root}, words[1:]...))
			shown.WriteString(d.shown(out.String()))
		case words[0] == "echo":
			at := len(words) - 1
			if err := os.WriteFile(words[at], []byte(strings.Join(words[1:at-1], " ")+"\n"), 0o644); err != nil {
				d.Error(err)
			}
		case words[0] == "rm":
			if err := os.Remove(words[1]); err != nil {
				d.Error(err)
			}
		default:
			d.Errorf("the test cannot run %s", line)
		}
	}
	return shown.String()
}

func (d *docsMachine) app(out *bytes.Buffer) *command.Environment {
	return &command.Environment{In: strings.NewReader(""), Out: out, Err: out, Getenv: func(string) string { return "" }, EUID: func() int { return 0 },
		OpenHost: d.host.open, Files: fixtureFiles{d.fixture.Files}, Probe: doctor.Local()}
}

// words splits a command line as a shell does, as far as the page needs it.
func (d *docsMachine) words(line string) []string {
	var words []string
	for _, match := range regexp.MustCompile(`"(?:\\.|[^"])*"|\S+`).FindAllString(strings.TrimPrefix(line, "$ "), -1) {
		if text, quoted := strings.CutPrefix(match, `"`); quoted {
			match = strings.ReplaceAll(strings.TrimSuffix(text, `"`), `\"`, `"`)
		}
		words = append(words, strings.ReplaceAll(match, "/mnt/", d.mnt+"/"))
	}
	return words
}

// shown replaces the directories of the test by those of the page.
func (d *docsMachine) shown(text string) string {
	text = strings.ReplaceAll(text, d.mnt+"/", "/mnt/")
	return strings.ReplaceAll(text, filepath.Clean(d.fixture.Root), "/var/lib/thinctl")
}

// syntax checks that the commands in the text exist and have these flags.
func (d *docsMachine) syntax(text string) {
	named := 0
	for _, match := range regexp.MustCompile("`(thinctl [^`]+)`").FindAllStringSubmatch(text, -1) {
		words := strings.Fields(strings.Join(strings.Fields(match[1]), " "))[1:]
		if _, err := commandline.Parse(newApp(&command.Environment{}), words); err != nil {
			d.Errorf("%s: %v", match[1], err)
		}
		named++
	}
	if named < 8 {
		d.Errorf("only %d commands in the text", named)
	}
}
