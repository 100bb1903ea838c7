// Package errno compares errors with the kernel's.
package errno

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Is reports whether err has one of the error numbers in its chain.
func Is(err error, numbers ...unix.Errno) bool {
	for _, number := range numbers {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}
