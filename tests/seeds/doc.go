// Package seeds repeats the experiments from which the product started: the texts of
// 2014 about Docker's devicemapper, step by step, with images of the same layer sizes
// and through the command line, as their authors did. It prints a table of the
// text's figures and ours, and fails if a bound is missed.
//
// Words: the scale divides everything that has a size of its own: layers, and data
// written with dd. Bounds on the cost of a step are not scaled.
//
// Caveats: layers are ext4, as Docker's were. xfs takes 64 MiB for the log of an
// empty file system, and about 2 MiB of log for each container's first mount, which
// the bounds do not allow. The experiments write 12 GB at scale 1, and less than one
// at 16, which is the scale of every test run. Times have bounds, which are ten times
// as long in an emulated guest.
//
//	make seeds
//	go test -tags kernel -v -exec "$PWD/tests/lab/run --kernel 6.12 --" ./tests/seeds
package seeds
