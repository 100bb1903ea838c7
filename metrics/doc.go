// Package metrics exports samples of pools as Prometheus metrics.
//
// # Words
//
// A [Sample] holds the state of one pool at one moment. A [Source] returns the last
// sample of each pool. A scrape turns these samples into series, and does nothing else: it
// makes no call into the kernel, opens no file and takes no lock of a pool. The age of the
// sample is a metric, too. A [Scan] is an exact reading of the pool's metadata, and a
// sample contains the last one. A [Forecaster] estimates from successive samples when a
// space will be full.
//
// # Caveats
//
// A value that is not known is absent, never zero: an inactive pool has no used bytes.
//
// Single volumes are exported if a pool has at most [Options.VolumeLimit] of them, and
// only those that users have named: volumes and containers. The volumes of layers and
// other internal volumes, which are named by digests, are only counted.
package metrics
