package debian

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// mirror serves every release of Debian that has not moved to the archive.
const mirror = "http://deb.debian.org/debian"

// Suite is a Debian release. The zero value is the system's own, with its sources and
// package lists. Any other has lists of its own in the user's cache, so that the system
// never installs from it by accident.
type Suite string

// Apt runs apt-get or apt-cache on the system's own suite; see [Suite.Apt].
func Apt(ctx context.Context, dir string, args ...string) (string, error) {
	return Suite("").Apt(ctx, dir, args...)
}

// Apt runs apt-get or apt-cache in dir, "" for the working directory, and returns the
// output. If it fails, the package lists are updated and it runs again: a fresh machine has
// no lists, and old ones name packages that have been replaced. Updating the system's lists
// needs root.
func (s Suite) Apt(ctx context.Context, dir string, args ...string) (string, error) {
	options, err := s.options()
	if err != nil {
		return "", err
	}
	args = slices.Concat(args[:1], options, args[1:])
	out, err := apt(ctx, dir, args...)
	if err == nil {
		return out, nil
	}
	if s == "" && os.Geteuid() != 0 {
		return "", fmt.Errorf("%w\n`sudo apt-get update` may help", err)
	}
	if updated := s.update(ctx, options); updated != nil {
		return "", fmt.Errorf("%w\n%w", err, updated)
	}
	return apt(ctx, dir, args...)
}

// options point apt at the suite's own sources, lists and cache (apt.conf(5)).
func (s Suite) options() ([]string, error) {
	if s == "" {
		return nil, nil
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	root := filepath.Join(cache, "suite-"+string(s))
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return nil, err
		}
	}
	source := fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", mirror, s)
	if err := os.WriteFile(filepath.Join(root, "sources.list"), []byte(source), 0o644); err != nil {
		return nil, err
	}
	var options []string
	for _, option := range []string{
		"Dir::Etc::SourceList=" + root + "/sources.list", "Dir::Etc::SourceParts=-",
		"Dir::State::Lists=" + root + "/lists", "Dir::Cache=" + root + "/cache", "Dir::State::status=/dev/null",
		"Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"Acquire::Check-Valid-Until=false", // a release that has ended signs no new lists
		"APT::Sandbox::User=root",          // the cache belongs to the caller
	} {
		options = append(options, "-o", option)
	}
	return options, nil
}

// update fetches the package lists. The lock is held because apt does not wait for
// another process that updates.
func (s Suite) update(ctx context.Context, options []string) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(cache, "apt"+string(s)+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	_, err = apt(ctx, "", slices.Concat([]string{"apt-get"}, options, []string{"-q", "update"})...)
	return err
}

// Download fetches the packages' files into dir and returns their paths.
func (s Suite) Download(ctx context.Context, dir string, packages ...string) ([]string, error) {
	args := []string{"apt-get", "-q", "-o", "APT::Sandbox::User=root", "download"}
	if _, err := s.Apt(ctx, dir, append(args, packages...)...); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err == nil && len(files) != len(packages) {
		err = fmt.Errorf("apt-get download %s: got %d files, want %d", strings.Join(packages, " "), len(files), len(packages))
	}
	return files, err
}

// Depends returns the names of the packages that a package depends on.
func (s Suite) Depends(ctx context.Context, name string) ([]string, error) {
	out, err := s.Apt(ctx, "", "apt-cache", "depends", name)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(out) {
		if found, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok {
			names = append(names, found)
		}
	}
	return names, nil
}

func apt(ctx context.Context, dir string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	// Packages are installed for their files: without questions and services.
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_OFFLINE=1")
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}
