// Package config reads /etc/thinctl/config.toml, environment variables and flags, and
// records the source of each value.
//
// # Words
//
// A key is written with its table: serve.interval. The origin of a value is a flag, a
// THINCTL_ variable, a line of the file, or the default, in this order of precedence. A
// pool's own table, [pools.NAME], takes precedence over all of them for that pool.
//
// # Caveats
//
// All errors are returned at once, each with its line. Only a file that is not valid TOML
// ends at the first one. An unknown key is an error: a misspelt maximum must not mean no
// maximum. The caller must not use the settings that are returned together with an error.
//
// # Example
//
//	settings, err := config.Load(config.Sources{Getenv: os.Getenv})
//	if err != nil {
//		return err // each line: file:line: key: cause; remedy
//	}
//	extend := settings.For("vault").Extend
package config
