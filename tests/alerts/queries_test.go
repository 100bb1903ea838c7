package alerts

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestQueries sends a real Prometheus, which scrapes the exporter, all queries of the
// dashboard and of the rules.
func TestQueries(t *testing.T) {
	prometheus := startPrometheus(t, serveExporter(t), projectFile(t, rulesFile))
	t.Run("dashboard", func(t *testing.T) { testDashboard(t, prometheus) })
	t.Run("rules", func(t *testing.T) { testRules(t, prometheus) })
}

// dashboard is the part of Grafana's format that holds queries.
type dashboard struct {
	Panels     []panel
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Annotations struct{ List []struct{ Name, Expr string } }
}

type panel struct {
	ID          int
	Title, Type string
	Targets     []struct{ Expr, RefID string }
	GridPos     struct{ X, Y, W, H int }
}

func testDashboard(t *testing.T, prometheus server) {
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, "packaging/grafana/thinctl.json")), &d); err != nil {
		t.Fatal(err)
	}
	known := exported(t, prometheus)
	ask := func(what, expr string) {
		t.Helper()
		for _, name := range regexp.MustCompile(`thinctl_\w+`).FindAllString(expr, -1) {
			if !known[name] {
				t.Errorf("%s: uses %s, which the exporter does not have", what, name)
			}
		}
		for _, m := range regexp.MustCompile(`\$\w+`).FindAllString(resolve(expr), -1) {
			t.Errorf("%s: uses the variable %s, which is not defined", what, m)
		}
		series, err := prometheus.query(t.Context(), resolve(expr))
		switch {
		case err != nil:
			t.Errorf("%s: query %s: %v", what, expr, err)
		case len(series) == 0:
			t.Errorf("%s: query %s: got no series", what, expr)
		}
	}
	asked, ids := 0, map[int]bool{}
	for i, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q: another panel has the same id", p.Title)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q goes beyond the right edge", p.Title)
		}
		for _, other := range d.Panels[:i] {
			if overlap(p, other) {
				t.Errorf("panels %q and %q overlap", p.Title, other.Title)
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q has no query", p.Title)
		}
		for _, target := range p.Targets {
			ask(fmt.Sprintf("panel %q, %s,", p.Title, target.RefID), target.Expr)
			asked++
		}
	}
	if asked < 40 {
		t.Errorf("queries in the dashboard: got %d, want at least 40", asked)
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("variable %s: got the query %q", v.Name, v.Definition)
			continue
		}
		ask("variable "+v.Name, "count by ("+m[2]+") ("+m[1]+") and on ("+m[2]+") group by ("+m[2]+") ("+m[1]+")")
	}
	for _, a := range d.Annotations.List {
		ask("annotation "+a.Name, a.Expr)
	}
}

func overlap(a, b panel) bool {
	p, q := a.GridPos, b.GridPos
	return p.X < q.X+q.W && q.X < p.X+p.W && p.Y < q.Y+q.H && q.Y < p.Y+p.H
}

// resolve replaces variables as Grafana does when all values are chosen.
func resolve(expr string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*", "$pool", ".*").Replace(expr)
}

// exported returns the names of all series in Prometheus.
func exported(t *testing.T, prometheus server) map[string]bool {
	t.Helper()
	var names []string
	if err := prometheus.get(t.Context(), "/api/v1/label/__name__/values", &names); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, name := range names {
		if strings.HasPrefix(name, "thinctl_") {
			known[name] = true
		}
	}
	return known
}

// rules returns the rules that Prometheus has loaded.
type rules struct {
	Groups []struct {
		Rules []struct {
			Name, Type, Query, Health, LastError string
			Labels, Annotations                  map[string]string
		}
	}
}

func testRules(t *testing.T, prometheus server) {
	var all rules
	if err := prometheus.get(t.Context(), "/api/v1/rules", &all); err != nil {
		t.Fatal(err)
	}
	known := exported(t, prometheus)
	alerts := 0
	for _, group := range all.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "ok" {
				t.Errorf("%s: %s: %s", rule.Name, rule.Health, rule.LastError)
			}
			asked := recorded.ReplaceAllString(rule.Query, "")
			for _, name := range regexp.MustCompile(`\bthinctl_\w+`).FindAllString(asked, -1) {
				if !known[name] {
					t.Errorf("%s: uses %s, which the exporter does not have", rule.Name, name)
				}
			}
			if rule.Type == "recording" {
				// Series that do not exist after some seconds are checked by unit tests.
				if series, err := prometheus.query(t.Context(), rule.Name); err != nil || len(series) == 0 {
					t.Errorf("%s: got no series: %v", rule.Name, err)
				}
				continue
			}
			alerts++
			if !slices.Contains([]string{"critical", "warning"}, rule.Labels["severity"]) {
				t.Errorf("%s: got the severity %q", rule.Name, rule.Labels["severity"])
			}
			code := rule.Labels["code"]
			if want := "thinctl explain " + code + " (docs/runbooks/" + code + ".md)"; rule.Annotations["runbook"] != want {
				t.Errorf("%s has the runbook %q, want %q", rule.Name, rule.Annotations["runbook"], want)
			}
			if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s: lacks an annotation: got %v", rule.Name, rule.Annotations)
			}
			if strings.Contains(rule.Query, "code=") && !strings.Contains(rule.Query, `code="`+code+`"`) {
				t.Errorf("%s: its code is %s, got the query %s", rule.Name, code, rule.Query)
			}
		}
	}
	if want := len(names(t, `- alert: (\w+)`)); alerts != want {
		t.Errorf("Prometheus has %d alerts, the file %d", alerts, want)
	}
}

// recorded returns the names of records, which have a colon.
var recorded = regexp.MustCompile(`\w+:\w+:\w+`)
