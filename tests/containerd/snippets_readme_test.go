package containerd

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each snippet is listed in the README, and a test assembles and starts it.
func TestEachSnippetIsTried(t *testing.T) {
	dir := "../../packaging/containerd/"
	tests := ""
	for _, name := range []string{"snippets_test.go", "../docker/fixture_test.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tests += string(text)
	}
	readme, err := os.ReadFile(dir + "README")
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 2 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, file := range files {
		name := file.Name()
		if name == "README" {
			continue
		}
		if !strings.Contains(string(readme), "\n  "+name+" ") {
			t.Errorf("the README does not have %s", name)
		}
		if !strings.Contains(tests, `"`+name+`"`) {
			t.Errorf("no test assembles %s", name)
		}
	}
}

// No snippet makes containerd discard layers: with two snapshotters on one node an image
// could not be started on the other.
func TestNoSnippetDiscardsLayers(t *testing.T) {
	files, err := filepath.Glob("../../packaging/containerd/*.*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no snippets: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`(?m)^\s*discard_unpacked_layers`).Match(text) {
			t.Errorf("%s sets discard_unpacked_layers", file)
		}
	}
}
