package debian

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Apt runs apt-get or apt-cache in dir, "" for here, and returns what it printed.
// Where that fails and root runs it, it is tried once more with new package lists: a
// fresh machine has none, and old ones name packages that are gone.
func Apt(ctx context.Context, dir string, args ...string) (string, error) {
	out, err := apt(ctx, dir, args...)
	if err == nil {
		return out, nil
	}
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%w\n`sudo apt-get update` may help", err)
	}
	if updated := update(ctx); updated != nil {
		return "", fmt.Errorf("%w\n%w", err, updated)
	}
	return apt(ctx, dir, args...)
}

// update gets new lists. Apt itself does not wait for another who does.
func update(ctx context.Context) error {
	cache, err := folder()
	if err != nil {
		return err
	}
	unlock, err := lock(cache + "/apt.lock")
	if err != nil {
		return err
	}
	defer unlock()
	_, err = apt(ctx, "", "apt-get", "-q", "update")
	return err
}

func apt(ctx context.Context, dir string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	// What is installed here is for its files: no questions, no services.
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_OFFLINE=1")
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}
