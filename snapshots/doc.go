// Package snapshots is where layers and containers go: a tree of thin volumes
// with file systems. So far it holds only package filesystem, which makes,
// mounts, grows and trims the file systems on volumes.
package snapshots
