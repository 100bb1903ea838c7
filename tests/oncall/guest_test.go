//go:build systemd

package oncall

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/docs/runbooks"
	"thinctl/tests/drills"
)

const (
	tree       = "../.."
	configFile = "/etc/thinctl/config.toml"
	rulesFile  = "/usr/share/thinctl/prometheus/thinctl.rules.yml"
	pools      = "/var/lib/thinctl"
)

func TestMain(m *testing.M) {
	if os.Getenv("THINCTL_LAB") == "" {
		fmt.Fprintln(os.Stderr, "run it as make oncall")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestOnCall is one night with two pools that fill concurrently.
func TestOnCall(t *testing.T) {
	began := time.Now()
	service(t)
	thinctl(t, "pool create idle --data-size 64M --metadata-size 4M")
	thinctl(t, "pool create vault --data-size 128M --metadata-size 16M")
	thinctl(t, "pool create index --data-size 4G --metadata-size 2M")
	w := startWatch(t)
	record := Record{Kernel: strings.TrimSpace(run(t, "uname", "-r"))}
	t.Run("a scrape commits nothing", func(t *testing.T) { testCommits(t) })
	fillings := []*filling{dataFilling(), metadataFilling()}
	t.Run("night", func(t *testing.T) {
		for _, f := range fillings {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				f.run(t, w)
			})
		}
	})
	if t.Failed() {
		return
	}
	var pasted []int
	for _, f := range fillings {
		pasted = append(pasted, f.pasted...)
		record.Pictures = append(record.Pictures, f.picture(t, w))
	}
	t.Run("all of the runbook that wants a daemon", func(t *testing.T) { testPasted(t, pasted) })
	leave(t, record)
	t.Logf("%.0f s in all", time.Since(began).Seconds())
}

// testPasted requires that the commands that the drills leave to this test have run.
func testPasted(t *testing.T, pasted []int) {
	text, _ := runbooks.Text("at-maximum")
	steps, err := runbooks.Commands(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if drills.NeedsDaemon("at-maximum", step.Case) && !slices.Contains(pasted, step.Line) {
			t.Errorf("at-maximum.md:%d: `%s` was not run", step.Line, step.Command)
		}
	}
}

// service installs the daemon as the packages do, and starts it.
func service(t *testing.T) {
	t.Helper()
	program, err := exec.LookPath("thinctl")
	if err != nil {
		t.Fatal(err)
	}
	run(t, "install", "-m755", program, "/usr/bin/thinctl")
	run(t, "install", "-Dm644", projectFile("packaging/systemd/thinctl.service"), "/etc/systemd/system/thinctl.service")
	text := changed(t, read(t, projectFile("packaging/config.toml")),
		`#interval = "15s"`, `interval = "2s"`,
		`#data_step = "20%"`, `data_step = "30%"`,
		`#metadata_step = "50%"`, `metadata_step = "25%"`,
		`#metadata_maximum = 0`, `metadata_maximum = "3M"`,
		`#cool_down = "1m"`, `cool_down = "5s"`,
		"#[pools.vault.extend]\n#data_maximum = \"500G\"", "[pools.vault.extend]\ndata_maximum = \"384M\"")
	write(t, configFile, text)
	thinctl(t, "config check")
	run(t, "systemctl", "daemon-reload")
	run(t, "systemctl", "start", "thinctl.service")
	t.Cleanup(func() {
		if t.Failed() {
			errs, _ := try(context.Background(), "journalctl", "--no-pager", "-o", "cat", "-u", "thinctl.service")
			t.Logf("output of the daemon:\n%s", errs)
		}
	})
}

// changed replaces texts, each of which must occur exactly once.
func changed(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for pair := range slices.Chunk(pairs, 2) {
		if strings.Count(text, pair[0]) != 1 {
			t.Fatalf("got %d of %q, want one, in\n%s", strings.Count(text, pair[0]), pair[0], text)
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	return text
}

// leave writes the record to the disk from which the host reads it.
func leave(t *testing.T, record Record) {
	t.Helper()
	text, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	disk, err := os.OpenFile("/dev/disk/by-id/virtio-disk0", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if _, err := disk.Write(append(text, '\n')); err != nil {
		t.Fatal(err)
	}
	if err := disk.Sync(); err != nil {
		t.Fatal(err)
	}
}

func projectFile(path string) string { return filepath.Join(tree, path) }

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func try(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %q: %w\n%s%s", name, args, err, out.String(), errs.String())
	}
	return out.String(), nil
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := try(t.Context(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func thinctl(t *testing.T, line string) string {
	t.Helper()
	return run(t, "/usr/bin/thinctl", strings.Fields(line)...)
}

// await waits for a condition.
func await(t *testing.T, what string, patience time.Duration, there func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	deadline := time.After(patience)
	for !there() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: did not happen within %s", what, patience)
		}
	}
}
