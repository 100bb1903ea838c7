//go:build !race

package containerd_test

// stride is the distance between the steps that are tested.
const stride = 1
