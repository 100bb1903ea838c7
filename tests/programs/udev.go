package programs

import (
	"context"
	"os"
	"path/filepath"
)

// InstallRules gives udev rules of the project until the next boot; a package installs them
// permanently.
func InstallRules(ctx context.Context, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	const dir = "/run/udev/rules.d"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o644); err != nil {
		return err
	}
	_, err = Run(ctx, "udevadm", "control", "--reload")
	return err
}
