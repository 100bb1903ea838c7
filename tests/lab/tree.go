package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// findTree returns the project's top directory, which is dir or above it.
func findTree(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		text, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && bytes.HasPrefix(text, []byte("module thinctl\n")) {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not in thinctl's tree: go there or name it with --tree", dir)
		}
	}
}

// buildPrograms builds the guest's first process and thinctl into dir, both static. It
// leaves out thinctl if that has no Go files.
func buildPrograms(ctx context.Context, tree, dir string, withThinctl bool) error {
	packages := []string{"./tests/lab/guest"}
	files, err := filepath.Glob(filepath.Join(tree, "cmd/thinctl/*.go"))
	if err != nil {
		return err
	}
	if withThinctl && len(files) > 0 {
		packages = append(packages, "./cmd/thinctl")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", append([]string{"build", "-o", dir + "/"}, packages...)...)
	build.Dir = tree
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s (--no-build leaves thinctl out): %w\n%s",
			strings.Join(packages, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// programs builds in the cache, where a program that is up to date is not linked again. It
// copies to dir, which no later build changes while a guest runs.
func (c cache) programs(ctx context.Context, tree, dir string, withThinctl bool) error {
	shop := filepath.Join(c.dir, "programs-"+digest(tree))
	unlock, err := c.lock(ctx, filepath.Base(shop))
	if err != nil {
		return err
	}
	defer unlock()
	if err := buildPrograms(ctx, tree, shop, withThinctl); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	err = copyFile(filepath.Join(dir, "guest"), filepath.Join(shop, "guest"))
	if !withThinctl || err != nil {
		return err
	}
	err = copyFile(filepath.Join(dir, "thinctl"), filepath.Join(shop, "thinctl"))
	if errors.Is(err, os.ErrNotExist) {
		return nil // cmd/thinctl has no Go files
	}
	return err
}

func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}
