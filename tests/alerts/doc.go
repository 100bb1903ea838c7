// Package alerts tests the files in packaging/ for Prometheus, Alertmanager and Grafana
// with those programs.
//
// Words: a rule's unit tests are promtool's, in thinctl.rules_test.yml. The exporter is
// package metrics with invented pools, served on loopback, and scraped by a real Prometheus
// each second.
//
// Caveats: promtool, prometheus and amtool come from Debian's packages, which are unpacked
// into the user's cache if they are not installed. If they cannot be fetched, tests are
// skipped (see internal/testkit/need). All tests take about half a minute.
package alerts
