// Command unpack puts the programs of another Debian suite's packages into a directory, and
// prints its path. Nothing is installed. Programs written in Go run in the lab's Debian 12,
// which has the C library that they need.
//
//	go run ./tests/debian/unpack sid .build/docker-sid containerd docker.io docker-cli
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"thinctl/tests/debian"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: unpack SUITE DIRECTORY PACKAGE...")
		os.Exit(2)
	}
	if err := unpack(ctx, debian.Suite(os.Args[1]), os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "unpack:", err)
		os.Exit(1)
	}
}

func unpack(ctx context.Context, suite debian.Suite, directory string, packages []string) error {
	directory, err := filepath.Abs(directory)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	files, err := suite.Download(ctx, work, packages...)
	if err != nil {
		return err
	}
	for _, file := range files {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", file, work+"/root").CombinedOutput(); err != nil {
			return fmt.Errorf("unpacking %s: %w\n%s", file, err, out)
		}
	}
	programs, err := filepath.Glob(work + "/root/usr/*bin/*")
	plugins, _ := filepath.Glob(work + "/root/usr/libexec/docker/cli-plugins/*") // the pattern is valid
	programs = append(programs, plugins...)
	if err != nil || len(programs) == 0 {
		return errors.Join(fmt.Errorf("%s of %s: no programs", packages, suite), err)
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "cp",
		append(append([]string{"-fP"}, programs...), directory)...).CombinedOutput(); err != nil {
		return fmt.Errorf("copying to %s: %w\n%s", directory, err, out)
	}
	fmt.Println(directory)
	return nil
}
