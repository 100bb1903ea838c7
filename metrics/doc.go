// Package metrics is where the Prometheus collectors go: one file per kernel
// source, served from thinpool's Status, which takes no lock of the pool's and
// commits nothing. It holds no collector yet.
package metrics
