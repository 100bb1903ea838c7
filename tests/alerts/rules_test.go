package alerts

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"thinctl/docs/runbooks"
)

const rulesFile = "packaging/prometheus/thinctl.rules.yml"

func TestRulesDoAsTheirUnitTestsSay(t *testing.T) {
	promtool := program(t, "promtool", "prometheus")
	mustRun(t, promtool, "check", "rules", projectFile(t, rulesFile))
	mustRun(t, promtool, "test", "rules", projectFile(t, "packaging/prometheus/thinctl.rules_test.yml"))
}

// TestEachRuleHasUnitTests requires that unit tests expect each alert both firing and not
// firing, and each record with its value.
func TestEachRuleHasUnitTests(t *testing.T) {
	tests := read(t, "packaging/prometheus/thinctl.rules_test.yml")
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`alertname: (\w+)(\}?)\n(\s+exp_alerts:\n\s+- exp_labels)?`).FindAllStringSubmatch(tests, -1) {
		switch {
		case m[3] != "":
			fires[m[1]] = true
		case m[2] != "":
			quiet[m[1]] = true
		}
	}
	alerts := names(t, `- alert: (\w+)`)
	for _, alert := range alerts {
		if !fires[alert] {
			t.Errorf("no unit test in which %s fires", alert)
		}
		if !quiet[alert] {
			t.Errorf("no unit test in which %s does not fire", alert)
		}
	}
	for alert := range fires {
		if !slices.Contains(alerts, alert) {
			t.Errorf("unit tests of %s, which is not a rule", alert)
		}
	}
	for _, record := range names(t, `- record: (\S+)`) {
		if !strings.Contains(tests, "expr: '"+record+"'") {
			t.Errorf("no unit test of %s", record)
		}
	}
}

// TestAlertsAndRunbooks requires a runbook for each alert, and an alert for each code.
func TestAlertsAndRunbooks(t *testing.T) {
	alerted := names(t, `code: ([\w-]+)`)
	for _, code := range alerted {
		if !slices.Contains(runbooks.Codes(), code) {
			t.Errorf("an alert has the code %s, for which there is no runbook", code)
		}
	}
	for _, code := range runbooks.Codes() {
		if !slices.Contains(alerted, code) {
			t.Errorf("no alert has the code %s", code)
		}
	}
}

// names returns the matches of the pattern in the file of rules.
func names(t *testing.T, pattern string) []string {
	t.Helper()
	var found []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, rulesFile), -1) {
		found = append(found, m[1])
	}
	if len(found) == 0 {
		t.Fatalf("%s has no match of %s", rulesFile, pattern)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(projectFile(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExampleOfAlertmanager(t *testing.T) {
	amtool := program(t, "amtool", "prometheus-alertmanager")
	file := projectFile(t, "packaging/prometheus/alertmanager.yml")
	mustRun(t, amtool, "check-config", file)
	for severity, want := range map[string]string{"critical": "pager", "warning": "mail"} {
		out := mustRun(t, amtool, "config", "routes", "test", "--config.file="+file, "severity="+severity,
			"alertname=ThinctlDataLow")
		// amtool prints more to standard error if its own file is missing.
		if !slices.Contains(strings.Fields(out), want) {
			t.Errorf("%s goes to %s, want %s", severity, out, want)
		}
	}
	// An inhibiting alert must exist.
	matchers := regexp.MustCompile(`(alertname|code)=~?"([^"]+)"`)
	for _, m := range matchers.FindAllStringSubmatch(read(t, "packaging/prometheus/alertmanager.yml"), -1) {
		for _, name := range strings.Split(m[2], "|") {
			pattern := `- alert: (\w+)`
			if m[1] == "code" {
				pattern = `code: ([\w-]+)`
			}
			if name != "Thinctl.+" && !slices.Contains(names(t, pattern), name) {
				t.Errorf("alertmanager.yml has %s %s, which no rule has", m[1], name)
			}
		}
	}
}

func TestExampleOfScraping(t *testing.T) {
	config := strings.ReplaceAll(read(t, "packaging/prometheus/scrape.yml"),
		"/usr/share/thinctl/prometheus/thinctl.rules.yml", projectFile(t, rulesFile))
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	mustRun(t, program(t, "promtool", "prometheus"), "check", "config", file)
}
