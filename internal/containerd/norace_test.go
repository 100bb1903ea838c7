//go:build !race

package containerd_test

const stride = 1
