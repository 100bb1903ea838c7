// Package metrics turns what is seen of pools into Prometheus metrics.
//
// # Words
//
// A [Sample] is what was seen of one pool at one moment; [Read] takes one. A
// [Source] has the last sample of each pool. A scrape turns those into series
// and does nothing else: it asks no kernel, opens no file, waits for no lock of a
// pool's. How old a sample is stands beside it. A [Scan] is an exact reading of
// the pool's metadata, taken by whoever may commit it; a sample carries the last.
// A [Forecaster] tells from samples over time how long the space will last.
//
// # Caveats
//
// What is not known is absent, never zero: an inactive pool has no used bytes.
// Read opens the pool's database for as long as a transaction takes, and asks the
// kernel for statuses that do not commit (DM_NOFLUSH).
//
// Single volumes are exported where a pool has no more than
// [Options.VolumeLimit] of them, and only those that somebody named: volumes of
// the user's own and containers, by name. Layers, inits and templates, which are
// named by digests, are counted and never listed.
//
// # Example
//
//	m := metrics.New(source, metrics.Options{Version: version})
//	http.Handle("/metrics", m.Handler())
//	...
//	done := m.Operation("extend")
//	_, err := pool.Extend(ctx, thinpool.ExtendOptions{Data: size})
//	done(err)
package metrics
