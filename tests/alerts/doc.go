// Package alerts tests what packaging/ has for Prometheus, Alertmanager and
// Grafana with their own programs.
//
// Words: a rule's unit tests are promtool's, in thinctl.rules_test.yml; the
// exporter is the metrics package with pools that are made up, served on
// loopback, and scraped by a real Prometheus each second.
//
// Caveats: promtool, prometheus and amtool come from Debian's packages, which
// are unpacked into the user's cache where they are not installed; where they
// cannot be had, tests fail. All of it takes about half a minute.
package alerts
