// Package seeds repeats the experiments that the product comes from: the texts
// of 2014 about Docker's devicemapper, step by step, with images of the same
// layer sizes and through the command line, as their authors did. It prints a
// table of what the text saw and what we see, and fails where a bound is
// missed.
//
// Words: the scale is by how much everything is smaller that has a size of its
// own: layers, and what is written with dd. Bounds on what a step may cost are
// not scaled.
//
// Caveats: layers are ext4, as Docker's were. xfs takes 64 MiB for the log of an
// empty file system, and about 2 MiB of log for each container's first mount,
// which the bounds do not allow. The experiments at scale 1 write 12 GB; at 16, which every test run
// does, less than one. Times are bounded where the processor is not emulated,
// and in an emulated guest at ten times as much.
//
//	make seeds
//	go test -tags kernel -v -exec "$PWD/tests/lab/run --kernel 6.12 --" ./tests/seeds
package seeds
