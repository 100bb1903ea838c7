//go:build !race

package snapshotstest

// Stride is the distance between the steps that are tested.
const Stride = 1
