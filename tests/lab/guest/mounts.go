package main

import (
	"fmt"
	"os"
	"syscall"
)

type mount struct {
	source, target, kind string
	flags                uintptr
	options              string
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return fmt.Errorf("making mount point: %w", err)
	}
	if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mounting %s %q on %s: %w", m.kind, m.source, m.target, err)
	}
	return nil
}

func mountAll(all ...mount) error {
	for _, m := range all {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

func bind(source, target string) mount {
	return mount{source, target, "", syscall.MS_BIND, ""}
}

// overlay mounts a throw-away writable layer over lower. The layer is kept in the tmpfs at
// layers.
func overlay(lower, target, layers string) error {
	for _, dir := range []string{layers + "/up", layers + "/work"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making overlay layer: %w", err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/up,workdir=%s/work", lower, layers, layers)
	return mount{"overlay", target, "overlay", 0, options}.do()
}

// switchRoot makes dir the root of this process. The kernel's threads share its file system
// state, and so does the modprobe that the kernel calls.
func switchRoot(dir string) error {
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("entering %s: %w", dir, err)
	}
	if err := syscall.Mount(".", "/", "", syscall.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving %s to the root: %w", dir, err)
	}
	if err := syscall.Chroot("."); err != nil {
		return fmt.Errorf("changing root to %s: %w", dir, err)
	}
	return os.Chdir("/")
}

func hostShare(target string) mount {
	// Messages are large, because each costs a call to QEMU. The loose cache is safe on a
	// share that is read-only and lives for one run.
	return mount{"host", target, "9p", syscall.MS_RDONLY, "trans=virtio,version=9p2000.L,msize=512000,cache=loose"}
}
