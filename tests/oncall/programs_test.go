//go:build lab

package oncall

import (
	"os"
	"path/filepath"
	"testing"

	"thinctl/tests/debian"
)

// TestPrograms puts programs that the guest's root does not have where the guest can read
// them.
func TestPrograms(t *testing.T) {
	path, err := debian.Unpacked(t.Context(), "prometheus-alertmanager", "prometheus-alertmanager")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("../..", ".build/oncall")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Alertmanager parses its templates at the start, also those that no receiver uses.
	templates := filepath.Join(path, "../../share/prometheus/alertmanager")
	for from, to := range map[string]string{path: "prometheus-alertmanager",
		filepath.Join(templates, "default.tmpl"): "default.tmpl", filepath.Join(templates, "email.tmpl"): "email.tmpl"} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
