//go:build race

package snapshotstest

// Stride is the distance between the steps that are tested. With the race detector each takes ten times as long. It is
// odd, so that steps of both phases are tested.
const Stride = 5
