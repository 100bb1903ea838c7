package cli

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
	"pgregory.net/rapid"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/commandline"
	"thinctl/internal/cli/exit"
)

func TestParse(t *testing.T) {
	root := newApp(&command.Environment{})
	for _, test := range []struct{ words, want string }{
		{"pool destroy p1 --dry-run", "thinctl pool destroy --dry-run -- p1"},
		{"pool destroy --dry-run p1", "thinctl pool destroy --dry-run -- p1"},
		{"pool destroy p1 -y", "thinctl pool destroy --yes -- p1"},
		{"pool list --json", "thinctl --json pool list"},
		{"pool --json list", "thinctl --json pool list"},
		{"pool --root /x list", "thinctl --root=/x pool list"},
		{"pool list --root=/x", "thinctl --root=/x pool list"},
		{"pool extend p1 --data +10G", "thinctl pool extend --data=+10G -- p1"},
		{"pool extend --data=-10G p1", "thinctl pool extend --data=-10G -- p1"},
		{"pool destroy p1 --dry-run=false", "thinctl pool destroy --dry-run=false -- p1"},
		{"pool status -- --json", "thinctl pool status -- --json"},
		{"pool status --json -- --", "thinctl --json pool status -- --"},
		{"pool status -", "thinctl pool status -- -"},
		{"pool destroy p1 --help", "thinctl pool destroy --help"},
		{"pool destroy -h p1 --yes", "thinctl pool destroy --help"},
		{"help pool destroy", "thinctl pool destroy --help"},
		{"pool status help", "thinctl pool status -- help"},
		{"pool list -json", "thinctl --json pool list"},
		{"--version", "thinctl --version"},
	} {
		line, err := commandline.Parse(root, strings.Fields(test.words))
		if got := strings.Join(line.Words(), " "); err != nil || got != test.want {
			t.Errorf("%s: %q, %v, want %q", test.words, got, err, test.want)
		}
	}
	for _, words := range []string{
		"pool destroy p1 --dryrun", "pool destroy p1 -n", "pool destroy p1 ---dry-run", "--dry-run pool destroy p1",
		"pool extend p1 --data", "pool extend p1 --data --dry-run", "pool extend p1 --data --", "frob", "pool frob", "--frob",
		"pool -- frob", "pool destroy p1 --", "pool destroy p1 --=x",
	} {
		_, err := commandline.Parse(root, strings.Fields(words))
		if words == "pool destroy p1 --" {
			if err != nil {
				t.Errorf("%s: %v", words, err)
			}
			continue
		}
		if usage := new(exit.UsageError); !errors.As(err, &usage) {
			t.Errorf("%s: %v, want a usage error", words, err)
		}
	}
}

// TestParseInterleaved checks that the position of flags among the arguments does not matter.
// Flags keep their order, and so do arguments.
func TestParseInterleaved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root := newApp(&command.Environment{})
		command := rapid.SampledFrom(leaves(root.Commands, nil)).Draw(t, "command")
		locals := drawFlags(t, "locals", command.flags)
		globals := drawFlags(t, "globals", root.Flags)
		args := rapid.SliceOfN(rapid.StringMatching(`[a-z+.=/@:0-9][a-z+.=/@:0-9-]{0,6}|-`), 0, 4).Draw(t, "args")
		plain := slices.Concat(flat(globals), command.path, flat(locals))
		if len(args) > 0 {
			plain = append(append(plain, "--"), args...)
		}
		want, err := commandline.Parse(root, plain)
		if err != nil {
			t.Fatalf("%q: %v", plain, err)
		}
		// Global flags can be anywhere; after the name of the command its flags and arguments can
		// be mixed.
		mixed := interleave(t, globals, slices.Concat(single(command.path), interleave(t, locals, single(args))))
		got, err := commandline.Parse(root, flat(mixed))
		if err != nil {
			t.Fatalf("%q: %v", flat(mixed), err)
		}
		if !slices.Equal(got.Words(), want.Words()) {
			t.Fatalf("%q gives %q, and %q gives %q", flat(mixed), got.Words(), plain, want.Words())
		}
	})
}

// TestParseKeepsFlags checks that a word that begins with "-" becomes an argument only after "--".
func TestParseKeepsFlags(t *testing.T) {
	root := newApp(&command.Environment{})
	rapid.Check(t, func(t *rapid.T) {
		words := append([]string{"pool", "destroy"}, rapid.SliceOf(rapid.OneOf(
			rapid.StringMatching(`--?[a-z-]{1,8}(=[a-z]*)?`), rapid.StringMatching(`[a-z]{1,4}`),
			rapid.SampledFrom([]string{"--dry-run", "--yes", "-y", "--json", "--root", "--root=x"}))).Draw(t, "words")...)
		line, err := commandline.Parse(root, words)
		if err != nil || slices.Contains(words, "--") {
			return
		}
		for _, arg := range line.Args {
			if len(arg) > 1 && strings.HasPrefix(arg, "-") {
				t.Fatalf("%q has the argument %q, want no flag as an argument", words, arg)
			}
		}
		if slices.Contains(words, "--dry-run") && !line.Help && !slices.Contains(line.Locals, "--dry-run") {
			t.Fatalf("%q: got words %q, want --dry-run among them", words, line.Words())
		}
	})
}

type namedLeaf struct {
	path  []string
	flags []cli.Flag
}

func leaves(commands []*cli.Command, above []string) []namedLeaf {
	var all []namedLeaf
	for _, command := range commands {
		path := append(slices.Clone(above), command.Name)
		if len(command.Subcommands) == 0 {
			all = append(all, namedLeaf{path, command.Flags})
		}
		all = append(all, leaves(command.Subcommands, path)...)
	}
	return all
}

// drawFlags returns some flags, each as one or two words.
func drawFlags(t *rapid.T, label string, flags []cli.Flag) [][]string {
	var drawn [][]string
	for _, flag := range flags {
		if !rapid.Bool().Draw(t, label+" has "+flag.Names()[0]) {
			continue
		}
		name := "--" + rapid.SampledFrom(flag.Names()).Draw(t, "alias")
		value := rapid.StringMatching(`[a-z0-9+./=]{1,5}`).Draw(t, "value")
		switch {
		case !flag.(cli.DocGenerationFlag).TakesValue():
			drawn = append(drawn, []string{name})
		case rapid.Bool().Draw(t, "joined"):
			drawn = append(drawn, []string{name + "=" + value})
		default:
			drawn = append(drawn, []string{name, value})
		}
	}
	return drawn
}

func interleave(t *rapid.T, a, b [][]string) [][]string {
	var mixed [][]string
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && rapid.Bool().Draw(t, "flag next") {
			mixed, a = append(mixed, a[0]), a[1:]
		} else {
			mixed, b = append(mixed, b[0]), b[1:]
		}
	}
	return mixed
}

func single(words []string) [][]string {
	var groups [][]string
	for _, word := range words {
		groups = append(groups, []string{word})
	}
	return groups
}

func flat(groups [][]string) []string { return slices.Concat(groups...) }
