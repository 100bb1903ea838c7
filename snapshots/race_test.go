//go:build race

package snapshots_test

// stride is the distance between the steps that are tested. With the race detector each takes ten times as long. It is
// odd, so that steps of both phases are tested.
const stride = 5
