package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"thinctl/tests/debian"
)

// program is a program that the lab or its guest runs, and its Debian package.
type program struct {
	name, pkg string
}

func plainPrograms() []program {
	return []program{
		{"qemu-system-x86_64", "qemu-system-x86"},
		{"busybox", "busybox-static"},
		{"depmod", "kmod"},
		{"mkfs.ext4", "e2fsprogs"},
		{"mkfs.xfs", "xfsprogs"},
		{"dmsetup", "dmsetup"},
		{"thin_check", "thin-provisioning-tools"},
		{"lvm", "lvm2"},
		{"losetup", "mount"},
		{"blkid", "util-linux"},
		{"sfdisk", "fdisk"},
		{"fuser", "psmisc"}, // runbooks use these two
		{"ps", "procps"},
		{"xz", "xz-utils"},
		{"zstd", "zstd"},
	}
}

func systemdPrograms() []program {
	return append(plainPrograms(), program{"mmdebstrap", "mmdebstrap"})
}

// require installs missing programs. If it cannot, the error has the command that does.
func require(ctx context.Context, programs []program, progress io.Writer) error {
	var missing []string
	for _, p := range programs {
		if _, err := tool(p.name); err != nil && !slices.Contains(missing, p.pkg) {
			missing = append(missing, p.pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	install := append([]string{"apt-get", "install", "-y", "--no-install-recommends"}, missing...)
	if os.Geteuid() != 0 {
		return fmt.Errorf("programs are missing: run: sudo %s", strings.Join(install, " "))
	}
	fmt.Fprintf(progress, "lab: %s\n", strings.Join(install, " "))
	if _, err := debian.Apt(ctx, "", install...); err != nil {
		return fmt.Errorf("installing what is missing: %w", err)
	}
	return nil
}

// tool finds a program. It also searches directories that are not on a user's PATH.
func tool(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %s", name)
}

// output runs a program of the host and returns its standard output. The error has the
// program's standard error.
func output(ctx context.Context, args ...string) ([]byte, error) {
	path, err := tool(args[0])
	if err != nil {
		return nil, err
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, lastLines(errs.String(), 20))
	}
	return out.Bytes(), nil
}
