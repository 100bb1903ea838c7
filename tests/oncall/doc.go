// Package oncall is a night on call: a pool fills under load, the daemon extends
// it up to its maximum, a real Prometheus and a real Alertmanager say so, the
// runbook of the alert is followed, and the alert clears. No write may fail.
//
//	make oncall    about a quarter of an hour where the guest is emulated
//
// # Words
//
// The watch is Prometheus with the rules of packaging/, Alertmanager with its
// example, and a listener in place of pager and mail that writes down what it is
// told. An hour of the files is five minutes here: every `for:` of the rules and
// every wait of Alertmanager's is a twelfth of what the file says, and metrics are
// scraped, and rules evaluated, every two seconds. Nothing else of the files is changed
// but the receivers. The load is fio, which verifies what it has written. A record
// is what Prometheus knows of the run afterwards, for the pictures in docs/.
//
// # Caveats
//
// It needs the lab's guest with systemd, where it installs the daemon's unit and
// configuration as the packages do. The record goes out on a disk, since a guest
// can leave nothing else behind.
package oncall
