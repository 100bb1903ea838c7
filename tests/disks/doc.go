// Package disks swaps virtio disks between the boots of one guest, and compares
// what thinctl does with a pool on them:
//
//	go test -tags lab -count=1 ./tests/disks
//
// The first boot makes two pools, one on disks with serials, one on a disk without.
// Between the boots the disks get other names, a foreign disk takes the place of
// one, a copy is attached beside it, one is detached, one is shorter. In each boot
// the guest runs thinctl itself. A disk with another file system, which must not
// change, is compared bit for bit on the host after each boot.
package disks
