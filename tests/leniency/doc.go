// Package leniency compares what thinctl accepts with what Docker, containerd
// and skopeo accept. Each row of its table is a quirk: one image that departs
// from the specifications in one respect, as an archive, as an OCI layout or in
// a registry. thinctl has to accept what one of the others accepts, or the row
// states the security reason. Hostile rows are refused whatever the others do.
//
// Words: a program accepts a row if it exits with 0 and the root of the image
// has exactly the files that the row expects, with types, modes, owners,
// contents and extended attributes. Times are left out. A program that exits
// with 0 and has other files is shown as "differs"; thinctl must never do that.
//
// Caveats: the test needs the lab's guest with systemd, whose Debian root has
// the other programs. Each row has contents of its own, since all four programs
// skip a layer that they have. A hostile row is accepted if the program exits
// with 0; the files are not compared, since there is no right result.
//
//	go test -tags systemd -count=1 -v -exec "$PWD/tests/lab/run --systemd --" ./tests/leniency
//
// One row, or all rows with a common beginning:
//
//	go test -tags systemd -count=1 -v -run 'TestTable/gzip' -exec ...
//
// The other programs are Debian 12's, or those in the directory THINCTL_PEERS_BIN,
// which has to be below the project's.
package leniency
