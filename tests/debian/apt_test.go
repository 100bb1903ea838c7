package debian_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/internal/testkit/need"
	"thinctl/tests/debian"
)

// TestApt updates package lists if a package is not found, and only then.
func TestApt(t *testing.T) {
	need.Root(t) // for new package lists
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	const script = `#!/bin/sh
echo "$*" >>"$0.asked"
case "$*" in
*update) touch "$0.lists" ;;
*there) test -e "$0.lists" && echo found ;;
*) echo "Unable to locate package" >&2 && exit 100 ;;
esac
`
	path := filepath.Join(dir, "apt-get")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ pkg, asked, told string }{
		{"there", "install there,-q update,install there", ""}, // a fresh machine
		{"there", "install there", ""},
		{"gone", "install gone,-q update,install gone", "Unable to locate package"},
	} {
		out, err := debian.Apt(t.Context(), "", "apt-get", "install", c.pkg)
		if c.told == "" && (err != nil || out != "found\n") || c.told != "" &&
			(err == nil || !strings.Contains(err.Error(), c.told)) {
			t.Errorf("%s: got %q, %v", c.pkg, out, err)
		}
		asked, err := os.ReadFile(path + ".asked")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(strings.TrimSpace(string(asked)), "\n", ","); got != c.asked {
			t.Errorf("%s: arguments of apt-get: got %q, want %q", c.pkg, got, c.asked)
		}
		if err := os.Remove(path + ".asked"); err != nil {
			t.Fatal(err)
		}
	}
}
