// Command images compares thinctl with its peers: loading an image, making a
// container of it, mounting, diff, commit, removing. The peers are Docker with
// devicemapper, and containerd with devmapper and with overlayfs. The floor of
// loading is the time that tar and a sync take for the image's tar, uncompressed, in
// a fresh ext4 on a loop device.
//
// # Words
//
// A round is the whole life of an image with one peer: load, create, mount, a change
// of 1 MiB, diff, unmount, commit, remove, remove the image, and a crowd of
// containers that are started concurrently. Peers take turns.
//
// # Caveats
//
// Every operation is a command, with the start of its process, because that is what
// users of all four see. Docker cannot mount a container without starting it: its
// mount is `docker start`, with a process. The diff of ctr is the layer's tar, because
// it has no other. containerd pays for reading the tar twice, once into its content
// store, as it does in production. Times compare within one run.
//
//	tests/peers/images/run
//	tests/peers/images/run -mb 50 -rounds 2 -peers floor,thinctl,docker
package main
