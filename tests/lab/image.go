package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	imageSuite = "bookworm"
	imageSize  = "10G" // sparse
)

func imagePackages() []string {
	return strings.Fields(`systemd-sysv udev dbus kmod procps iproute2 iptables jq curl
		ca-certificates busybox-static dmsetup lvm2 thin-provisioning-tools xfsprogs
		e2fsprogs fio docker.io containerd runc skopeo podman docker-registry prometheus xz-utils bzip2`)
}

// imageHook makes the boot short: services that tests do not start are disabled. Neither
// console gets a login, which would write into the kernel's messages.
const imageHook = `chroot "$1" systemctl disable docker.service docker.socket containerd.service ` +
	`docker-registry.service podman.service podman.socket podman-auto-update.timer podman-restart.service ` +
	`prometheus.service prometheus-node-exporter.service lvm2-monitor.service blk-availability.service ` +
	`e2scrub_reap.service e2scrub_all.timer fstrim.timer apt-daily.timer ` +
	`apt-daily-upgrade.timer dpkg-db-backup.timer && ` +
	`chroot "$1" systemctl mask serial-getty@ttyS0.service getty@tty1.service systemd-update-utmp.service && ` +
	`mkdir -p "$1/host" "$1/scratch" && echo lab > "$1/etc/hostname"`

// image returns a Debian root as an ext4 file system in a file.
func (c cache) image(ctx context.Context, progress io.Writer) (string, error) {
	recipe := append([]string{imageSuite, imageSize, imageHook}, imagePackages()...)
	dir, err := c.entry(ctx, "image", recipe, func(dir string) error {
		if os.Geteuid() != 0 {
			return errors.New("only root can build it: run: sudo tests/lab/run --prepare --systemd")
		}
		fmt.Fprintln(progress, "lab: building a Debian root with systemd (once, a minute or two)")
		root := filepath.Join(dir, "root")
		if _, err := output(ctx, "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root",
			"--include="+strings.Join(imagePackages(), ","), "--customize-hook="+imageHook, imageSuite, root); err != nil {
			return err
		}
		if _, err := output(ctx, "mkfs.ext4", "-q", "-F", "-d", root, filepath.Join(dir, "root.img"), imageSize); err != nil {
			return err
		}
		return os.RemoveAll(root)
	})
	if err != nil {
		return "", fmt.Errorf("preparing the image with systemd: %w", err)
	}
	return filepath.Join(dir, "root.img"), nil
}
