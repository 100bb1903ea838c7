// Package config reads /etc/thinctl/config.toml and says where each value came
// from.
//
// # Words
//
// A key is written with its table: serve.interval. A value's origin is the flag,
// the THINCTL_ variable, the line of the file, or the default that it was taken
// from, in that order. A pool's own table, [pools.NAME], goes before all of them
// for that pool: whoever names a pool means it.
//
// # Caveats
//
// A fault is told with its line, and all faults are told at once; only what is no
// TOML at all ends the reading at its first fault. A key that is not known is a
// fault: a misspelt maximum must not pass for none. What is returned beside faults
// must not be used.
//
// # Example
//
//	settings, err := config.Load(config.Sources{Getenv: os.Getenv})
//	if err != nil {
//		return err // each line: file:line: key: what is wrong; what to do
//	}
//	extend := settings.For("vault").Extend
package config
