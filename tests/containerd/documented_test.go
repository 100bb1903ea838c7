//go:build systemd

package containerd

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/programs"
)

// TestDocumented runs the commands that the documents give to an administrator: thinctl
// without a package, containerd, and Docker with THINCTL_DOCKER_BIN.
func TestDocumented(t *testing.T) {
	if os.Getenv("THINCTL_LAB") == "" {
		t.Fatal(`run it as go test -tags systemd -run Documented -exec "$PWD/tests/lab/run --systemd --" ./tests/containerd`)
	}
	sh := func(line string) string {
		t.Helper()
		out, err := programs.Run(t.Context(), "bash", "-euc", line)
		if err != nil {
			units, _ := programs.Run(t.Context(), "journalctl", "--no-pager", "-n", "60", "-u", "thinctl", "-u", "containerd",
				"-u", "docker")
			t.Fatalf("%s: %v\n%s", line, err, units)
		}
		return out
	}
	bin := os.Getenv("THINCTL_DOCKER_BIN")
	if bin != "" {
		sh("systemctl stop docker containerd docker.socket; cp " + bin + "/containerd* " + bin + "/ctr " + bin +
			"/docker /usr/bin; cp " + bin + "/dockerd /usr/sbin")
	}
	release, err := programs.ContainerdVersion(t.Context())
	check(t, err)

	// docs/install.md: copy `X` to `Y`, ..., the program to `/usr/bin`.
	install := document(t, "install.md", "## Install")
	copies := regexp.MustCompile("`(packaging/[^`]+)`\\s+to\\s+`(/[^`]+)`").FindAllStringSubmatch(install, -1)
	if len(copies) < 3 || !strings.Contains(strings.Join(strings.Fields(install), " "), "the program to `/usr/bin`") {
		t.Fatalf("copies by hand in docs/install.md: got %d", len(copies))
	}
	for _, pair := range copies {
		sh(fmt.Sprintf("mkdir -p %s && cp ../../%s %s", pair[2], pair[1], pair[2]))
	}
	sh(`cp "$(command -v thinctl)" /usr/bin/thinctl.new && mv /usr/bin/thinctl.new /usr/bin/thinctl
		mkdir -p /etc/thinctl /etc/containerd /etc/docker /usr/share/thinctl/containerd && cp ../../packaging/containerd/* /usr/share/thinctl/containerd
		systemctl daemon-reload && udevadm control --reload && systemd-analyze verify --man=no /etc/systemd/system/thinctl*`)
	commands := steps(document(t, "install.md", "## Install"))
	for _, c := range commands {
		if strings.HasPrefix(c.line, "systemctl ") {
			sh(c.line)
		}
	}

	// docs/containerd.md, for the installed containerd.
	plugin := map[bool]string{true: "containerd-2.toml", false: "containerd-1.7.toml"}[numbers(release)[0] >= 2]
	if numbers(release)[0] == 1 && numbers(release)[1] < 7 {
		plugin = "containerd-1.6.toml"
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	check(t, writeDockerImage(archive))
	perform := func(file, section string) {
		t.Helper()
		done := 0
		for _, c := range steps(document(t, file, section)) {
			line := strings.ReplaceAll(c.line, "containerd-2.toml", plugin)
			switch {
			case strings.Contains(line, "images pull"): // there is no network
				sh("ctr images import --snapshotter thinctl " + archive)
				continue
			case strings.HasPrefix(line, "crictl"):
				continue // TestSnippets asks CRI itself
			case strings.Contains(line, "ctr run"):
				line = strings.NewReplacer("docker.io/library/busybox:latest", storeImage, " echo", " /busybox echo").Replace(line)
			}
			done++
			out := sh(line)
			for _, want := range c.output {
				// Numbers depend on the machine, and columns are as wide as their contents.
				want = regexp.MustCompile(`\s+`).ReplaceAllString(regexp.QuoteMeta(strings.TrimSpace(want)), `\s+`)
				want = strings.ReplaceAll(want, `\s+-\s+`, `\s+\S+\s+`) // containerd 2.1.9 has the platform there
				want = regexp.MustCompile(`\d+G`).ReplaceAllString(want, `[\d.]+[GM]`)
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("%s printed\n%s\nwant %s", line, out, want)
				}
			}
		}
		if done == 0 {
			t.Errorf("docs/%s has no commands below %s", file, section)
		}
	}
	perform("containerd.md", "## Install")
	// The daemon has unpacked it, with the privileges that its unit keeps.
	if out := sh("ctr run --rm --snapshotter thinctl " + storeImage + " odd /busybox stat -c '%u:%g %a %F %t:%T' " +
		"/odd/program /odd/device"); out != oddFiles {
		t.Errorf("files of an unpacked layer: got\n%s\nwant\n%s", out, oddFiles)
	}
	if numbers(release)[0] >= 2 || numbers(release)[1] >= 7 {
		until(t, "file system with the pool's figures", 2*time.Minute, func() error {
			_, err := programs.Run(t.Context(), "mountpoint", "/run/thinctl/k8s.fs")
			return err
		})
		perform("containerd.md", "### The kubelet and the pool's free space")
		expectPool(t, "/run/thinctl/k8s.fs", programs.Thinctl{Root: "/var/lib/thinctl", Pool: "vault"})
		// The device stays while the daemon is stopped, and is the same afterwards.
		before := sh("stat -c %d /run/thinctl/k8s.fs")
		sh("systemctl stop thinctl && mountpoint /run/thinctl/k8s.fs && systemctl start thinctl")
		if after := sh("stat -c %d /run/thinctl/k8s.fs"); after != before {
			t.Errorf("after a restart of the daemon the device is %s, it was %s", after, before)
		}
	}
	if bin == "" {
		return
	}
	perform("docker.md", "## Connect containerd and Docker")
	sh("docker load -q -i " + archive)
	if out := sh("docker run --rm --network=none " + storeImage + " /busybox echo hello"); out != "hello" {
		t.Errorf("docker run printed %q, want hello", out)
	}
	sh("docker rmi " + storeImage)
}

// document returns the section of a document below a heading.
func document(t *testing.T, name, heading string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	check(t, err)
	_, section, found := strings.Cut(string(text), "\n"+heading+"\n")
	if !found {
		t.Fatalf("docs/%s has no %s", name, heading)
	}
	if end := regexp.MustCompile(`(?m)^#{2,3} `).FindStringIndex(section); end != nil {
		section = section[:end[0]]
	}
	return section
}

// step is a command of a document with the output that follows it.
type step struct {
	line   string
	output []string
}

// steps returns the commands of the indented blocks, which begin with "# ".
func steps(section string) (all []step) {
	for line := range strings.Lines(section) {
		text, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		command, isCommand := strings.CutPrefix(text, "# ")
		switch {
		case !indented || strings.TrimSpace(text) == "":
		case isCommand:
			all = append(all, step{line: command})
		case len(all) > 0:
			all[len(all)-1].output = append(all[len(all)-1].output, text)
		}
	}
	return all
}

const storeImage = "test.local/store:1"

// oddFiles is what stat prints of the odd files in the image: a setuid program of another
// user, and a device that is none of the usual ones.
const oddFiles = "1000:1001 4755 regular file 0:0\n0:5 640 character special file 12c:7"

// writeDockerImage writes an image with the program and odd files, in Docker's own format.
func writeDockerImage(path string) error {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	image := imagetest.Program(storeImage, "/busybox", busybox)
	image.Layers[0].Entries = append(image.Layers[0].Entries,
		imagetest.Entry{Path: "odd", Type: tar.TypeDir, Mode: 0o755},
		imagetest.Entry{Path: "odd/program", Type: tar.TypeReg, Mode: 0o4755, UID: 1000, GID: 1001,
			Content: imagetest.Content{Text: "x"},
			Xattrs:  map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x04" + strings.Repeat("\x00", 14)}},
		imagetest.Entry{Path: "odd/device", Type: tar.TypeChar, Mode: 0o640, GID: 5, Major: 300, Minor: 7})
	built, err := imagetest.Build(image)
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(imagetest.WriteDocker(file, built), file.Close())
}
