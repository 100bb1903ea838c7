package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"thinctl/tests/lab/boot"
)

const sysFinitModule = 313 // x86-64; package syscall does not have it

// openModules opens the files before the root is switched.
func openModules(names []string) ([]*os.File, error) {
	var files []*os.File
	for _, name := range names {
		f, err := os.Open(boot.ModuleDir + "/" + name)
		if err != nil {
			return nil, fmt.Errorf("opening module: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

func loadModules(files []*os.File) error {
	for _, f := range files {
		options := [1]byte{}
		_, _, errno := syscall.Syscall(sysFinitModule, f.Fd(), uintptr(unsafe.Pointer(&options)), 0)
		f.Close()
		// crc32c-intel and similar modules return ENODEV on a processor without the
		// instruction.
		if errno != 0 && !errors.Is(errno, syscall.EEXIST) && !errors.Is(errno, syscall.ENODEV) {
			return fmt.Errorf("loading module %s: %w", f.Name(), errno)
		}
	}
	return nil
}
