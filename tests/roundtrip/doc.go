// Package roundtrip takes images through thinctl and the programs that others
// wrote: Docker, podman, skopeo and docker-registry. Ids, histories and file
// trees must come out as they went in, whoever made the image and whoever
// reads it.
//
// Words: the yardstick is imagetest's tree of an image, worked out in memory
// by the image specification; TestPeers holds the other programs against it
// before anything is said of thinctl.
//
// Caveats: it needs the lab's guest with systemd, for the programs are in its
// Debian root. There is no network but the loopback interface. Images that
// cost minutes in an emulated guest are smaller for the other programs than
// for thinctl, see sizes_test.go.
//
//	go test -tags systemd -exec "$PWD/tests/lab/run --systemd --" ./tests/roundtrip
package roundtrip
