//go:build !race

package snapshots_test

// stride is the distance between the steps that are tested.
const stride = 1
