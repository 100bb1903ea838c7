package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// deviceDeadline bounds the wait for devices, which the kernel finds asynchronously.
const deviceDeadline = 20 * time.Second

// diskBySerial finds a virtio disk by the serial that QEMU gave it.
func diskBySerial(serial string) (string, error) {
	var found string
	err := await("disk with serial "+serial, func() bool {
		for name, s := range diskSerials() {
			if s == serial {
				found = "/dev/" + name
				return true
			}
		}
		return false
	})
	return found, err
}

func diskSerials() map[string]string {
	serials := map[string]string{}
	files, _ := filepath.Glob("/sys/block/vd*/serial")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil {
			serials[filepath.Base(filepath.Dir(f))] = strings.TrimSpace(string(text))
		}
	}
	return serials
}

// linkDisks makes the names that udev would make, where udev does not run.
func linkDisks() error {
	const dir = "/dev/disk/by-id"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, serial := range diskSerials() {
		if serial == "" {
			continue
		}
		if err := os.Symlink("../../"+name, dir+"/virtio-"+serial); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

// openPort opens a virtio-serial port by name. It blocks in system calls on purpose: the
// runtime's poller does not work with a port that hangs up.
func openPort(name string, mode int) (*os.File, error) {
	var device string
	err := await("port "+name, func() bool {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, f := range names {
			text, _ := os.ReadFile(f)
			if strings.TrimSpace(string(text)) == name {
				device = "/dev/" + filepath.Base(filepath.Dir(f))
				_, err := os.Stat(device)
				return err == nil
			}
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	return openBlocking(device, mode)
}

func await(what string, there func() bool) error {
	deadline := time.After(deviceDeadline)
	for !there() {
		select {
		case <-deadline:
			return fmt.Errorf("no %s after %v", what, deviceDeadline)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
