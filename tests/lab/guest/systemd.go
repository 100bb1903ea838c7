package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"thinctl/tests/lab/boot"
)

// handOver prepares systemd's root and becomes systemd. Systemd starts this program again,
// as a unit, to run the command.
func handOver(spec boot.Spec, loaded <-chan error) error {
	disk, err := diskBySerial(boot.SerialRoot)
	if err != nil {
		return err
	}
	if err := mountAll(
		mount{disk, "/newroot", "ext4", 0, "noinit_itable"},
		hostShare("/newroot/host"),
		mount{"tmpfs", "/newroot/run", "tmpfs", 0, "mode=755"},
		mount{"tmpfs", "/newroot/run/lab", "tmpfs", 0, "mode=755"},
	); err != nil {
		return err
	}
	for i, dir := range append(spec.Shared, spec.Tree) {
		layers := fmt.Sprintf("/newroot%s/layers/%d", stateDir, i)
		target := "/newroot" + dir
		if dir == spec.Tree {
			target = "/newroot" + stateDir + "/modules"
		}
		if err := overlay("/newroot/host"+dir, target, layers); err != nil {
			return err
		}
	}
	if err := mountScratch("/newroot"); err != nil {
		return err
	}
	if err := writeUnit("/newroot"); err != nil {
		return err
	}
	if err := switchRoot("/newroot"); err != nil {
		return err
	}
	if err := showModules(spec, stateDir+"/modules"); err != nil {
		return err
	}
	if err := <-loaded; err != nil {
		return err
	}
	return syscall.Exec("/sbin/init", []string{"/sbin/init"}, []string{"TERM=linux", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
}

const unit = `[Unit]
Description=The lab's command
After=systemd-udev-trigger.service
[Service]
Type=exec
ExecStart=` + stateDir + `/guest
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576
OOMScoreAdjust=-500
`

func writeUnit(root string) error {
	for from, to := range map[string]string{"/init": "/guest", boot.SpecPath: boot.SpecPath} {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(root+stateDir+to, text, 0o755); err != nil {
			return err
		}
	}
	for path, text := range map[string]string{
		"/run/systemd/system/lab.service": unit,
		// This replaces Debian's rule to empty /tmp, which may be a view of the host's.
		"/run/tmpfiles.d/tmp.conf": "",
	} {
		if err := os.MkdirAll(filepath.Dir(root+path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(root+path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
