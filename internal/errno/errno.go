// Package errno compares errors with error numbers of the kernel.
package errno

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Is reports whether one of the error numbers is in the chain of err.
func Is(err error, numbers ...unix.Errno) bool {
	for _, number := range numbers {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}
