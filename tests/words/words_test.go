package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thinctl/internal/testkit/need"
)

func testRules(t *testing.T) []rule {
	t.Helper()
	rules, err := readRules("words.txt")
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestCheck(t *testing.T) {
	rules := testRules(t)
	for _, test := range []struct {
		name, file, content string
		want                []string
	}{
		{"comment", "a.go", "package a\n\n// F makes a folder,\n// and starts anew.\nfunc F() {}\n",
			[]string{`a.go:3: folder: write "directory" instead`, `a.go:4: anew: write "again" instead`}},
		{"capital", "a.go", "// Folder is one.\npackage a\n", []string{`a.go:1: folder: write "directory" instead`}},
		{"phrase over two lines", "a.go", "// It is under\n// way.\npackage a\n", []string{`a.go:1: under way: write "in progress" instead`}},
		{"two words beside each other", "a.go", "// folder folder\npackage a\n",
			[]string{`a.go:1: folder: write "directory" instead`, `a.go:1: folder: write "directory" instead`}},
		{"string", "a.go", "package a\n\nconst s = \"x\\nno folder\"\n", []string{`a.go:3: folder: write "directory" instead`}},
		{"raw string", "a.go", "package a\n\nconst s = `x\nno folder`\n", []string{`a.go:4: folder: write "directory" instead`}},
		{"identifier", "a.go", "package a\n\nvar a = folder.New(anew)\n", nil},
		{"declared names", "a.go", "package a\n\nvar newFolder = 1\n\nfunc f(folder int) { anew := 1; folders = 2 }\n",
			[]string{`a.go:3: in a name: folder: write "directory" instead`, `a.go:5: in a name: folder: write "directory" instead`,
				`a.go:5: in a name: anew: write "again" instead`}},
		{"file name", "x/old_folder.go", "package a\n", []string{`x/old_folder.go:1: in a name: folder: write "directory" instead`}},
		{"code in a comment", "a.go", "// F calls `folder`:\n//\n//\tfolder(anew)\npackage a\n", nil},
		{"directive", "a.go", "//go:generate folder\npackage a\n", nil},
		{"struct tag", "a.go", "package a\n\ntype s struct {\n\tx int `json:\"folder\"`\n}\n", nil},
		{"part of a path or an option", "a.md", "Use --folder, a/folder, folder/a, _folder and folder_x.\n", nil},
		{"end of a sentence", "a.md", "Make a folder.\n", []string{`a.md:1: folder: write "directory" instead`}},
		{"code in a document", "a.md", "```console\n# folder\n```\n\n    folder\n\nUse `folder`.\n", nil},
		{"settings", "a.toml", "# A folder.\nx = \"anew\"\n",
			[]string{`a.toml:1: folder: write "directory" instead`, `a.toml:2: anew: write "again" instead`}},
		{"yet with a negation", "a.md", "It is not there yet. It cannot grow any more.\n", nil},
		{"yet without one", "a.md", "It is not so; it is there yet. Use it any more.\n",
			[]string{`a.md:1: yet: write "still, so far, or a negation with it" instead`,
				`a.md:1: any more: write "still, so far, or a negation with it" instead`}},
		{"advice", "a.md", "The kernel tells it.\n", []string{`a.md:1: advice: tells: write "print, report, list" instead`}},
		{"command in a library", "thinpool/store/a.go", "package a\n\nconst s = \"x: run `thinctl pool check p`\"\n",
			[]string{"thinpool/store/a.go:3: `thinctl pool: write \"a fault.Cure, and its sentence in internal/remedy\" instead"}},
		{"option in a library", "dm/a.go", "package a\n\nconst s = \"set --yes, not -y or a--b\"\n",
			[]string{`dm/a.go:3: --yes: write "a fault.Cure, and its sentence in internal/remedy" instead`}},
		{"command in a comment of a library", "dm/a.go", "// Package a is for `thinctl pool` --yes.\npackage a\n", nil},
		{"command in a test of a library", "dm/a_test.go", "package a\n\nconst s = \"`thinctl pool` --yes\"\n", nil},
		{"command elsewhere", "internal/remedy/a.go", "package a\n\nconst s = \"`thinctl pool` --yes\"\n", nil},
		{"thinctl in a library", "dm/a.go", "package a\n\nconst s = \"held by thinctl -- or not\"\n", nil},
		{"opening", "a.md", "# What it is\n\nWhat is gone is gone. What is it?\n",
			[]string{`a.md:3: advice: What ...: write "the main clause first" instead`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, f := range check(test.file, []byte(test.content), rules) {
				got = append(got, f.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestRunCountsAndAllows(t *testing.T) {
	need.Program(t, "git")
	tree := t.TempDir()
	if _, err := git(tree, "init", "-q"); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"docs/a.md":        "A folder and a folder.\n",
		"docs/deep/x/b.md": "It tells it.\n",
		"c.txt":            "A folder that is not read.\n",
		"packaging/p":      "# anew\n",
	} {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := git(tree, "add", "."); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	fails, err := run(options{tree: tree, count: true}, &out)
	if err != nil || !fails {
		t.Errorf("got %v, %v, want findings", fails, err)
	}
	want := []string{"findings files with of files advice directory", "2 1 1 0 docs", "0 0 1 1 docs/deep", "1 1 1 0 packaging", "3 2 3 1 total"}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	out.Reset()
	fails, err = run(options{tree: tree, below: []string{"docs/deep"}, all: true}, &out)
	if want := "docs/deep/x/b.md:1: advice: tells: write \"print, report, list\" instead\n"; err != nil || fails || out.String() != want {
		t.Errorf("got %v, %v, %q, want only advice: %q", fails, err, out.String(), want)
	}

	found := check("docs/a.md", []byte("A folder and a folder, anew.\n"), testRules(t))
	e := &exception{files: "docs/*.md", word: "Folder"}
	if left := without(found, []*exception{e}); len(left) != 1 || left[0].word != "anew" || !e.used {
		t.Errorf("got %v, used %v, want only anew, true", left, e.used)
	}
}

func TestListsAreWellFormed(t *testing.T) {
	if rules := testRules(t); len(rules) < 10 {
		t.Errorf("got %d rules, want at least 10", len(rules))
	}
	if _, err := readExceptions("allow.txt"); err != nil {
		t.Error(err)
	}
	for content, want := range map[string]string{"folder\n": "FORM", "folder:\n": "FORM", ", x: y\n": "empty"} {
		name := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(name, []byte("# x\n\n"+content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readRules(name); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), ":3:") {
			t.Errorf("readRules(%q): got %v, want an error of line 3 with %q", content, err, want)
		}
	}
	for content, want := range map[string]string{"a: b\n": "FILES", "a: b:\n": "FILES", "[: b: c\n": "syntax error"} {
		name := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readExceptions(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("readExceptions(%q): got %v, want an error with %q", content, err, want)
		}
	}
}
