// Package oncall is a night on call: a pool fills under load, the daemon extends it
// up to its maximum, a real Prometheus and a real Alertmanager send an alert, the
// alert's runbook is followed, and the alert clears. No write may fail.
//
//	make oncall    about a quarter of an hour in an emulated guest
//
// # Words
//
// The watch is Prometheus with the rules of packaging/, Alertmanager with its
// example, and a receiver that records messages in place of pager and mail. An hour
// of the files is five minutes here: every `for:` of the rules and every wait of
// Alertmanager is a twelfth of the file's. Metrics are scraped, and rules evaluated,
// every two seconds. Nothing else of the files is changed but the receivers. The load
// is fio, which verifies what it has written. A record holds Prometheus's figures of
// the run, for the pictures in docs/.
//
// # Caveats
//
// It needs the lab's guest with systemd, where it installs the daemon's unit and
// configuration as the packages do. The record is written to a disk, because a guest
// can leave nothing else behind.
package oncall
