//go:build race

package containerd_test

// stride leaves steps out where each takes ten times as long; odd, so that both
// phases are among those that stay.
const stride = 5
