// Package roundtrip takes images through thinctl and through programs of other
// projects: Docker, podman, skopeo and docker-registry. Ids, histories and file trees
// must not change, whichever program has made the image and whichever reads it.
//
// Words: the reference is imagetest's tree of an image, which is computed in memory
// by the image specification. TestPeers compares the other programs with it, before
// thinctl is compared.
//
// Caveats: it needs the lab's guest with systemd, because the programs are in its
// Debian root. There is no network but the loopback interface. Images that take
// minutes in an emulated guest are smaller for the other programs than for thinctl;
// see sizes_test.go.
//
//	go test -tags systemd -exec "$PWD/tests/lab/run --systemd --" ./tests/roundtrip
package roundtrip
