//go:build lab

package packaging

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/tests/debian"
)

// tree is the project's directory, relative to this one.
const tree = "../.."

// built is the directory of the packages for the guest's tests.
var built = filepath.Join(tree, ".build/packages")

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out.String(), said.String())
	}
	return out.String()
}

func build(t *testing.T, version, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(tree, "packaging/build"), dir)
	cmd.Env = append(os.Environ(), "VERSION="+version)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", version, err, out)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// contents are the files of both packages, with modes.
var contents = map[string]string{
	"/usr/bin/thinctl":                                  "-rwxr-xr-x",
	"/etc/thinctl/config.toml":                          "-rw-r--r--",
	"/usr/lib/systemd/system/thinctl.service":           "-rw-r--r--",
	"/usr/lib/systemd/system/thinctl-activate.service":  "-rw-r--r--",
	"/usr/lib/systemd/system/thinctl.socket":            "-rw-r--r--",
	"/usr/lib/modules-load.d/thinctl.conf":              "-rw-r--r--",
	"/usr/lib/udev/rules.d/11-dm-thinctl.rules":         "-rw-r--r--",
	"/usr/share/man/man8/thinctl.8.gz":                  "-rw-r--r--",
	"/usr/share/bash-completion/completions/thinctl":    "-rw-r--r--",
	"/usr/share/fish/vendor_completions.d/thinctl.fish": "-rw-r--r--",
	"/usr/share/thinctl/prometheus/thinctl.rules.yml":   "-rw-r--r--",
	"/usr/share/thinctl/prometheus/alertmanager.yml":    "-rw-r--r--",
	"/usr/share/thinctl/prometheus/scrape.yml":          "-rw-r--r--",
	"/usr/share/thinctl/grafana/thinctl.json":           "-rw-r--r--",
	"/usr/share/thinctl/containerd/thinctl.toml":        "-rw-r--r--",
	"/usr/share/thinctl/containerd/containerd-2.toml":   "-rw-r--r--",
	"/usr/share/thinctl/containerd/cri-2.toml":          "-rw-r--r--",
	"/usr/share/doc/thinctl/containerd.md":              "-rw-r--r--",
	"/usr/share/doc/thinctl/disks.md":                   "-rw-r--r--",
	"/usr/share/doc/thinctl/install.md":                 "-rw-r--r--",
	"/usr/share/doc/thinctl/metrics.md":                 "-rw-r--r--",
	"/usr/share/doc/thinctl/runbooks/data-full.md":      "-rw-r--r--",
	"/usr/share/doc/thinctl/runbooks/reboot.md":         "-rw-r--r--",
}

func TestPackages(t *testing.T) {
	dir := absolute(t, built)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	build(t, "1.0.0", filepath.Join(dir, "old"))
	build(t, "1.0.1", filepath.Join(dir, "new"))
	again := t.TempDir()
	build(t, "1.0.0", again)

	deb, rpm := filepath.Join(dir, "old/thinctl_1.0.0-1_amd64.deb"), filepath.Join(dir, "old/thinctl-1.0.0-1.x86_64.rpm")
	for _, path := range []string{deb, rpm} {
		if first, second := sum(t, path), sum(t, filepath.Join(again, filepath.Base(path))); first != second {
			t.Errorf("%s: two builds differ", filepath.Base(path))
		}
	}
	t.Run("deb", func(t *testing.T) { testDeb(t, deb) })
	t.Run("rpm", func(t *testing.T) { testRPM(t, rpm) })
}

func sum(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

func testDeb(t *testing.T, deb string) {
	modes := map[string]string{}
	for line := range strings.Lines(run(t, "dpkg-deb", "-c", deb)) {
		f := strings.Fields(line)
		if f[1] != "root/root" {
			t.Errorf("not owned by root: %s", line)
		}
		modes[strings.TrimPrefix(f[5], ".")] = f[0]
	}
	expectModes(t, modes)
	unpacked := t.TempDir()
	run(t, "dpkg-deb", "-R", deb, unpacked)
	if got := read(t, filepath.Join(unpacked, "DEBIAN/conffiles")); strings.TrimSpace(got) != "/etc/thinctl/config.toml" {
		t.Errorf("conffiles: %q", got)
	}
	sameAsTree(t, unpacked)
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		run(t, "sh", "-n", filepath.Join(unpacked, "DEBIAN", script))
	}
}

func testRPM(t *testing.T, rpm string) {
	ctx := t.Context()
	query, err := debian.Installed(ctx, "rpm", "rpm")
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]string{}
	for line := range strings.Lines(run(t, query, "-qp", "--qf",
		"[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEFLAGS:fflags}. %{FILENAMES}\n]", rpm)) {
		f := strings.Fields(line)
		if f[1] != "root" || f[2] != "root" {
			t.Errorf("not owned by root: %s", line)
		}
		if config := strings.HasPrefix(f[3], "cn"); config != strings.HasPrefix(f[4], "/etc/thinctl/") {
			t.Errorf("config, not to be replaced: %v for %s", config, f[4])
		}
		modes[f[4]] = f[0]
	}
	expectModes(t, modes)
	if out := run(t, query, "-K", "--nosignature", rpm); !strings.Contains(out, "digests OK") {
		t.Errorf("rpm -K: %s", out)
	}
	if out := run(t, query, "-qp", "--qf", "%{PAYLOADCOMPRESSOR} %{BUILDHOST} %{LICENSE}",
		rpm); out != "gzip localhost Apache-2.0" {
		t.Errorf("compressor, host, license: %s", out)
	}

	// It has a database of its own, so that the machine's is neither read nor changed.
	root := t.TempDir()
	run(t, query, "--root", root, "--initdb")
	run(t, query, "--root", root, "-i", "--nodeps", "--noscripts", "--nosignature", rpm)
	sameAsTree(t, root)
	if out := run(t, query, "--root", root, "-V", "--nodeps", "--noscripts", "thinctl"); out != "" {
		t.Errorf("rpm -V finds differences:\n%s", out)
	}
	// Changed configuration stays at an upgrade.
	config := filepath.Join(root, "etc/thinctl/config.toml")
	if err := os.WriteFile(config, []byte("root = \"/srv/thinctl\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	newer := strings.ReplaceAll(strings.ReplaceAll(rpm, "/old/", "/new/"), "1.0.0", "1.0.1")
	run(t, query, "--root", root, "-U", "--nodeps", "--noscripts", "--nosignature", newer)
	if got := read(t, config); got != "root = \"/srv/thinctl\"\n" {
		t.Errorf("the upgrade replaced the configuration:\n%s", got)
	}
	pool := filepath.Join(root, "var/lib/thinctl/vault/state.db")
	if err := os.MkdirAll(filepath.Dir(pool), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pool, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, query, "--root", root, "-e", "--nodeps", "--noscripts", "thinctl")
	if _, err := os.Stat(filepath.Join(root, "usr/bin/thinctl")); err == nil {
		t.Error("the program exists after the removal")
	}
	if got := read(t, pool); got != "kept" {
		t.Errorf("removal changed a pool: %q", got)
	}
	testScriptsOfRPM(t, query, rpm)
}

// testScriptsOfRPM runs the scripts with programs that only record how they were called:
// nothing is started, and no pool is touched.
func testScriptsOfRPM(t *testing.T, query, rpm string) {
	dir := t.TempDir()
	said := filepath.Join(dir, "calls")
	for _, program := range []string{"systemctl", "udevadm", "thinctl"} {
		script := "#!/bin/sh\necho " + program + " \"$@\" >>" + said + "\n"
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ tag, argument, want string }{
		{"POSTIN", "1", "systemctl --no-reload preset thinctl-activate.service thinctl.service\n"},
		{"POSTIN", "2", ""},
		{"PREUN", "1", ""},
		{"PREUN", "0", "systemctl --no-reload disable thinctl-activate.service\nsystemctl --no-reload disable --now thinctl.socket thinctl.service\n"},
	} {
		os.Remove(said)
		script := run(t, query, "-qp", "--qf", "%{"+c.tag+"}", rpm)
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script, "sh", c.argument)
		cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s %s: %v\n%s", c.tag, c.argument, err, out)
		}
		got, err := os.ReadFile(said)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		// Where systemd or udev runs, the scripts notify it.
		var calls []string
		for line := range strings.Lines(string(got)) {
			if line != "systemctl daemon-reload\n" && line != "udevadm control --reload\n" {
				calls = append(calls, line)
			}
		}
		if strings.Join(calls, "") != c.want {
			t.Errorf("%s %s calls\n%swant\n%s", c.tag, c.argument, strings.Join(calls, ""), c.want)
		}
	}
}

func expectModes(t *testing.T, modes map[string]string) {
	t.Helper()
	for path, want := range contents {
		if modes[path] != want {
			t.Errorf("%s has mode %q, want %s", path, modes[path], want)
		}
	}
	for path, mode := range modes {
		if strings.HasPrefix(path, "/var/") || strings.HasPrefix(path, "/run/") {
			t.Errorf("%s belongs to no package", path)
		}
		if strings.ContainsAny(mode, "st") || strings.HasPrefix(mode[1:], "rw") && mode[8] == 'w' {
			t.Errorf("mode of %s: got %s", path, mode)
		}
	}
}

// sameAsTree compares the unpacked files with their sources, each runbook too.
func sameAsTree(t *testing.T, root string) {
	t.Helper()
	pairs := map[string]string{
		"etc/thinctl/config.toml":                          "packaging/config.toml",
		"usr/lib/systemd/system/thinctl.service":           "packaging/systemd/thinctl.service",
		"usr/lib/systemd/system/thinctl-activate.service":  "packaging/systemd/thinctl-activate.service",
		"usr/lib/udev/rules.d/11-dm-thinctl.rules":         "packaging/udev/11-dm-thinctl.rules",
		"usr/share/thinctl/prometheus/thinctl.rules.yml":   "packaging/prometheus/thinctl.rules.yml",
		"usr/share/thinctl/grafana/thinctl.json":           "packaging/grafana/thinctl.json",
		"usr/share/bash-completion/completions/thinctl":    "packaging/completions/thinctl.bash",
		"usr/share/fish/vendor_completions.d/thinctl.fish": "packaging/completions/thinctl.fish",
	}
	books, err := filepath.Glob(filepath.Join(tree, "docs/runbooks/*.md"))
	if err != nil || len(books) == 0 {
		t.Fatalf("no runbooks: %v", err)
	}
	for _, book := range books {
		pairs["usr/share/doc/thinctl/runbooks/"+filepath.Base(book)] = "docs/runbooks/" + filepath.Base(book)
	}
	for there, here := range pairs {
		if read(t, filepath.Join(root, there)) != read(t, filepath.Join(tree, here)) {
			t.Errorf("%s differs from %s", there, here)
		}
	}
	// A static program has no interpreter.
	program, err := elf.Open(filepath.Join(root, "usr/bin/thinctl"))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP {
			t.Error("the program is not static")
		}
	}
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink != 0 && strings.Contains(path, "thinctl") {
			t.Errorf("%s is a link", path)
		}
		return nil
	})
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
