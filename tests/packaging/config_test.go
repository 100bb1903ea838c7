package packaging

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thinctl/internal/config"
)

// TestConfigIsTheSample requires that the installed file has every key at its default.
func TestConfigIsTheSample(t *testing.T) {
	const path = "../../packaging/config.toml"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Sample(), string(text)); diff != "" {
		t.Errorf("%s differs from `thinctl config sample` (-sample +file):\n%s", path, diff)
	}
}
