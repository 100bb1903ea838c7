package lab

import (
	"os"
	"path/filepath"
	"strings"
)

// environment returns the command's variables: some of the caller's, and the lab's own.
func (c Config) environment(bin string) []string {
	var env []string
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case name == "PATH":
			path = value + ":" + path
		case passedOn(name):
			env = append(env, kv)
		}
	}
	env = append(env, "PATH="+bin+":"+path, "PWD="+c.Dir, "TMPDIR=/scratch/tmp",
		"THINCTL_LAB=1", "THINCTL_LAB_KERNEL="+c.Kernel)
	if !c.Systemd {
		env = append(env, "DM_DISABLE_UDEV=1") // or dmsetup waits for udev, which does not run
	}
	return append(env, c.Env...)
}

func passedOn(name string) bool {
	switch name {
	case "HOME", "TERM", "NO_COLOR", "LANG":
		return true
	}
	return strings.HasPrefix(name, "THINCTL_") ||
		strings.HasPrefix(name, "GO") && !strings.HasPrefix(name, "GOOGLE")
}

// shared returns the directories of the host that must be at the same path under systemd's
// root: the tree, what go test builds, and where it builds it.
func (c Config) shared() []string {
	wanted := []string{c.Tree, c.Dir, os.TempDir(), os.Getenv("GOTMPDIR"), os.Getenv("GOCACHE")}
	if dir, err := os.UserCacheDir(); err == nil {
		wanted = append(wanted, filepath.Join(dir, "go-build"))
	}
	if len(c.Command) > 0 && filepath.IsAbs(c.Command[0]) {
		wanted = append(wanted, filepath.Dir(c.Command[0]))
	}
	var dirs []string
	for _, dir := range wanted {
		info, err := os.Stat(dir)
		if dir == "" || err != nil || !info.IsDir() || belongsToRoot(dir) {
			continue
		}
		dirs = addDir(dirs, dir)
	}
	return dirs
}

// addDir adds dir unless one of dirs contains it, and drops those that it contains.
func addDir(dirs []string, dir string) []string {
	var kept []string
	for _, d := range dirs {
		if within(dir, d) {
			return dirs
		}
		if !within(d, dir) {
			kept = append(kept, d)
		}
	}
	return append(kept, dir)
}

// belongsToRoot reports whether systemd's root has the directory itself.
func belongsToRoot(dir string) bool {
	for _, own := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/dev",
		"/proc", "/sys", "/run", "/boot", "/var/lib", "/scratch", "/host"} {
		if within(dir, own) {
			return true
		}
	}
	return filepath.Clean(dir) == "/"
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
