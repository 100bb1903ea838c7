package thinpooltest

import (
	"fmt"
	"os"
)

// TB is the part of a test that a fixture needs.
type TB interface {
	TempDir() string
	Cleanup(func())
	Errorf(format string, args ...any)
}

// Example is the TB of an example, which has no test. Close ends it.
type Example struct {
	cleanups []func()
}

// TempDir returns a new directory that Close removes.
func (e *Example) TempDir() string {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	e.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			e.Errorf("removing the files of an example: %v", err)
		}
	})
	return dir
}

// Cleanup adds a function that Close calls.
func (e *Example) Cleanup(f func()) { e.cleanups = append(e.cleanups, f) }

// Errorf panics, which ends the example with an error.
func (e *Example) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Close calls the functions of Cleanup, the last one first.
func (e *Example) Close() {
	for len(e.cleanups) > 0 {
		last := e.cleanups[len(e.cleanups)-1]
		e.cleanups = e.cleanups[:len(e.cleanups)-1]
		last()
	}
}
