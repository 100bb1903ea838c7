package metadata_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/thinpool/metadata"
)

// thin runs one of the thin-provisioning-tools.
func thin(name string, args ...string) (string, error) {
	for tries := 1; ; tries++ {
		var out, errs bytes.Buffer
		cmd := exec.Command(name, args...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		if err == nil {
			return out.String(), nil
		}
		// The number of asynchronous requests is limited (fs.aio-max-nr), and each tool
		// reserves thousands: other tests may use all of them.
		if tries > 100 || !strings.Contains(errs.String(), "io_setup failed") {
			return "", fmt.Errorf("%s %v: %w: %s", name, args, err, errs.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// each runs test for n seeds, twelve at a time, because the tools wait longer than they compute
// (io_destroy takes 30 ms). THINCTL_MODELS multiplies the number of seeds.
func each(t *testing.T, n int, test func(seed uint64, dir string) error) {
	t.Helper()
	if more := os.Getenv("THINCTL_MODELS"); more != "" {
		times, err := strconv.Atoi(more)
		if err != nil {
			t.Fatalf("THINCTL_MODELS: %v", err)
		}
		n *= times
	}
	seeds := make(chan uint64)
	var group sync.WaitGroup
	for range 12 {
		group.Go(func() {
			dir, err := os.MkdirTemp(t.TempDir(), "")
			if err != nil {
				t.Error(err)
			}
			for seed := range seeds {
				if err := test(seed, dir); err != nil && !t.Failed() {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	for seed := range uint64(n) {
		if !t.Failed() {
			seeds <- seed
		}
	}
	close(seeds)
	group.Wait()
}

func image(t testing.TB, p *metadatatest.Pool, o metadatatest.SaveOptions) (*metadatatest.Image, metadata.Superblock) {
	t.Helper()
	m, s, err := p.Image(o)
	if err != nil {
		t.Fatal(err)
	}
	return m, s
}

func dumped(m *metadatatest.Image, root metadata.Superblock, o metadata.DumpOptions) (string, error) {
	var b bytes.Buffer
	err := metadata.Dump(context.Background(), &b, m, root, o)
	return b.String(), err
}

// written writes m to a file, with a hole for the zeros at its end.
func written(dir string, m *metadatatest.Image) (string, error) {
	path := filepath.Join(dir, "meta")
	used := bytes.TrimRight(m.Bytes, "\x00")
	return path, errors.Join(os.WriteFile(path, used, 0o600), os.Truncate(path, int64(len(m.Bytes))))
}

// differ returns an error with the first difference of two texts.
func differ(what, want, got string) error {
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			from := max(0, i-200)
			return fmt.Errorf("%s: byte %d: want\n%s\ngot\n%s", what, i, want[from:min(i+100, len(want))],
				got[from:min(i+100, len(got))])
		}
	}
	return nil
}
