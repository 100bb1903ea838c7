package need_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/internal/testkit/need"
)

// recorder records how a test ended instead of ending it.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (*recorder) Helper() {}

func (r *recorder) Skip(args ...any) { r.skipped = fmt.Sprint(args...) }

func (r *recorder) Fatalf(format string, args ...any) { r.failed = fmt.Sprintf(format, args...) }

func TestUnmet(t *testing.T) {
	const name = "no-such-program"
	for _, c := range []struct{ variable, skipped, failed string }{
		{"", "needs no-such-program: exec: ", ""},
		{"1", "", "needs no-such-program: exec: "},
	} {
		t.Setenv(need.Variable, c.variable)
		r := &recorder{TB: t}
		if got := need.Program(r, name); got != "" {
			t.Errorf("%s=%q: got the path %q, want none", need.Variable, c.variable, got)
		}
		if !strings.HasPrefix(r.skipped, c.skipped) || (c.skipped == "") != (r.skipped == "") {
			t.Errorf("%s=%q: got the skip %q, want %q", need.Variable, c.variable, r.skipped, c.skipped)
		}
		if !strings.HasPrefix(r.failed, c.failed) || (c.failed == "") != (r.failed == "") {
			t.Errorf("%s=%q: got the failure %q, want %q", need.Variable, c.variable, r.failed, c.failed)
		}
	}
}

func TestMet(t *testing.T) {
	t.Setenv(need.Variable, "1")
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	path := filepath.Join(dir, "oracle")
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	r := &recorder{TB: t}
	if got := need.Program(r, "oracle"); got != path {
		t.Errorf("got the path %q, want %q", got, path)
	}
	need.Ready(r, "a package", nil)
	if r.skipped != "" || r.failed != "" {
		t.Errorf("got the skip %q and the failure %q, want none", r.skipped, r.failed)
	}
	need.Ready(r, "a package", errors.New("no network"))
	if want := "needs a package: no network"; !strings.HasPrefix(r.failed, want) {
		t.Errorf("got the failure %q, want %q", r.failed, want)
	}
}
