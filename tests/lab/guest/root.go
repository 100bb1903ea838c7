package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"thinctl/tests/lab/boot"
)

// enterHostRoot makes a writable view of the host's root and enters it.
func enterHostRoot(spec boot.Spec) error {
	if err := mountAll(
		hostShare("/host"),
		mount{"tmpfs", "/layers", "tmpfs", 0, "mode=755"},
	); err != nil {
		return err
	}
	if err := overlay("/host", "/newroot", "/layers"); err != nil {
		return err
	}
	if err := switchRoot("/newroot"); err != nil {
		return err
	}
	if err := mountAll(
		mount{"proc", "/proc", "proc", 0, ""},
		mount{"sysfs", "/sys", "sysfs", 0, ""},
		mount{"cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""},
		mount{"devtmpfs", "/dev", "devtmpfs", 0, ""},
		mount{"devpts", "/dev/pts", "devpts", 0, "gid=5,mode=620,ptmxmode=666"},
		mount{"tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777"},
		mount{"tmpfs", "/run", "tmpfs", 0, "mode=755"},
	); err != nil {
		return err
	}
	for link, to := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(to, link); err != nil && !os.IsExist(err) {
			return err
		}
	}
	if err := showModules(spec, spec.Tree); err != nil {
		return err
	}
	if err := mountScratch(""); err != nil {
		return err
	}
	if err := linkDisks(); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	return syscall.Sethostname([]byte("lab"))
}

// showModules puts the kernel's modules where modprobe reads them, without those that the
// run leaves out. The tree must lie on an overlay.
func showModules(spec boot.Spec, tree string) error {
	for _, file := range spec.Without {
		if err := os.Remove(filepath.Join(tree, file)); err != nil {
			return fmt.Errorf("leaving out module: %w", err)
		}
	}
	return bind(tree, "/lib/modules/"+spec.Release).do()
}

// mountScratch mounts the scratch disk below root and puts the directory of pools on it.
func mountScratch(root string) error {
	disk, err := diskBySerial(boot.SerialScratch)
	if err != nil {
		return err
	}
	if err := (mount{disk, root + "/scratch", "ext4", 0, "noinit_itable"}).do(); err != nil {
		return err
	}
	for dir, mode := range map[string]os.FileMode{"tmp": 0o777 | os.ModeSticky, "thinctl": 0o700} {
		path := root + "/scratch/" + dir
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return bind(root+"/scratch/thinctl", root+"/var/lib/thinctl").do()
}
