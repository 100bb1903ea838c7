package programs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// release is a containerd with its ctr and its shim.
type release struct {
	dir     string // of all three; if it is "" they are on PATH
	version string
	major   int
}

// findRelease returns the version of the containerd in a directory, or on PATH.
func findRelease(ctx context.Context, dir string) (release, error) {
	r := release{dir: dir}
	for _, name := range []string{"containerd", "ctr", "containerd-shim-runc-v2"} {
		if _, err := os.Stat(r.program(name)); dir != "" && err != nil {
			return r, fmt.Errorf("%w: run tests/containerd/build %s", err, dir)
		}
	}
	// The program prints: containerd github.com/containerd/containerd/v2 2.4.2+unknown
	said, err := Run(ctx, r.program("containerd"), "--version")
	if err != nil {
		return r, err
	}
	fields := strings.Fields(said)
	if len(fields) < 3 {
		return r, fmt.Errorf("containerd --version: unexpected output %q", said)
	}
	r.version = strings.TrimPrefix(fields[2], "v")
	major, _, _ := strings.Cut(r.version, ".")
	if r.major, err = strconv.Atoi(major); err != nil {
		return r, fmt.Errorf("containerd --version: unexpected output %q", said)
	}
	return r, nil
}

func (r release) program(name string) string {
	if r.dir == "" {
		return name
	}
	return filepath.Join(r.dir, name)
}

// environment makes the release's shim the first on PATH.
func (r release) environment() []string {
	if r.dir == "" {
		return nil // the parent's
	}
	return append(os.Environ(), "PATH="+r.dir+":"+os.Getenv("PATH"))
}

// proxies returns the configuration with the snapshotters behind these sockets as proxy
// plugins, by their names. From 2.0 on it has their differs too: 1.6 has no such proxies.
func (r release) proxies(sockets map[string]string) string {
	if r.major < 2 {
		return "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n" + proxies(sockets)
	}
	var differs []string
	text := "version = 3\n" +
		`disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]` +
		"\n"
	text += proxies(sockets)
	for name, socket := range sockets {
		text += fmt.Sprintf("[proxy_plugins.%s-diff]\n  type = \"diff\"\n  address = %q\n", name, socket)
		differs = append(differs, fmt.Sprintf("%q, ", name+"-diff"))
		text += fmt.Sprintf("[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\n  platform = \"linux\"\n  "+
			"snapshotter = %q\n  differ = %q\n", name, name+"-diff")
	}
	return text + fmt.Sprintf("[plugins.'io.containerd.service.v1.diff-service']\n  default = [%s\"walking\"]\n",
		strings.Join(differs, ""))
}

// proxies are the tables of proxy plugins.
func proxies(sockets map[string]string) (text string) {
	for name, socket := range sockets {
		text += fmt.Sprintf("[proxy_plugins.%s]\n  type = \"snapshot\"\n  address = %q\n", name, socket)
	}
	return text
}
