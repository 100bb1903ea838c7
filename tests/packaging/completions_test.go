//go:build lab

package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/tests/debian"
)

// TestCompletionsLoad loads the completion in each shell, which then proposes what the program
// does.
func TestCompletionsLoad(t *testing.T) {
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/thinctl", "./cmd/thinctl")
	build.Dir = tree
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building thinctl: %v\n%s", err, out)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("HOME", t.TempDir())
	// zsh's completion runs only in its line editor, at a terminal, which zpty provides.
	// Text that is written before the prompt appears is not edited. The prompt is quoted so
	// that its own definition does not look like it.
	const zsh = `zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; print loaded \$_comps[thinctl]; PS1=\$'\\x52EADY>'"
zpty -r -m z x '*loaded _thinctl*READY>*' || exit 3
zpty -w -n z $'thinctl poo\t --help; print the-\x65nd\n'
zpty -r -m z x '*the-end*'
print -r -- $x`
	for _, shell := range []struct {
		name, file string
		args       []string
	}{
		{"bash", "thinctl.bash", []string{"-uec",
			`source "$1"; COMP_LINE="thinctl poo" COMP_POINT=11 COMP_WORDS=(thinctl poo) COMP_CWORD=1; _thinctl; complete -p thinctl; printf '%s\n' "${COMPREPLY[@]}"`, "bash"}},
		{"fish", "thinctl.fish", []string{"-c", `source $argv[1]; complete -C 'thinctl poo'`}},
		{"zsh", "_thinctl", []string{"-fc", zsh, "zsh"}},
	} {
		t.Run(shell.name, func(t *testing.T) {
			program, err := debian.Installed(t.Context(), shell.name, shell.name)
			if err != nil {
				t.Fatal(err)
			}
			path := absolute(t, filepath.Join(tree, "packaging/completions", shell.file))
			if shell.name == "zsh" {
				path = filepath.Dir(path)
			}
			out := run(t, program, append(shell.args, path)...)
			if !strings.Contains(out, "pool") {
				t.Errorf("for \"thinctl poo\" it proposes %q, want pool", out)
			}
		})
	}
}
