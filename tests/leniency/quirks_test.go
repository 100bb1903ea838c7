package leniency

import (
	"regexp"
	"testing"

	"thinctl/internal/testkit/need"
	"thinctl/tests/debian"
)

// TestQuirks checks the table itself: each input can be made, expects files, and has
// contents that no other has.
func TestQuirks(t *testing.T) {
	for _, program := range []struct{ name, pkg string }{{"xz", "xz-utils"}, {"bzip2", "bzip2"}} {
		_, err := debian.Installed(t.Context(), program.name, program.pkg)
		need.Ready(t, program.name, err)
	}
	valid := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	names, ids := map[string]bool{}, map[string]string{}
	for _, q := range quirks() {
		if !valid.MatchString(q.name) || names[q.name] {
			t.Errorf("the name %q is invalid or taken", q.name)
		}
		names[q.name] = true
		if q.hostile && q.reason == "" {
			t.Errorf("%s: a hostile row needs a reason", q.name)
		}
		m, err := q.make()
		if err != nil {
			t.Error(err)
			continue
		}
		id := m.source.ID()
		if other, taken := ids[id]; taken {
			t.Errorf("%s and %s have the same image id", q.name, other)
		}
		ids[id] = q.name
	}
}
