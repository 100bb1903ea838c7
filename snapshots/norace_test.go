//go:build !race

package snapshots_test

const stride = 1
