//go:build kernel

package integration

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/internal/config"
	"thinctl/internal/daemon"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// TestDaemon fills a pool that fails writes once it is full. The daemon extends it before a
// write fails, and logs when it has reached its maximum.
func TestDaemon(t *testing.T) {
	root := t.TempDir()
	options := small()
	options.DataSize, options.ErrorIfFull, options.LowWater = 64*units.MiB, true, 320
	options.Reserve = &thinpool.Reserve{}
	pool := newPoolUnder(t, root, options)
	socket := filepath.Join(t.TempDir(), "web.sock")
	settings, err := config.Parse(fmt.Appendf(nil, `root = %q
[serve]
listen = "unix:%s"
interval = "1s"
[extend]
data_at = 60
data_step = "50%%"
data_maximum = "160M"
cool_down = "1s"
`, root, socket), "config.toml", config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(daemon.Options{Host: realHost(t), Files: mountedFiles{}, Config: settings,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	web := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	get := func(path string) (int, string) {
		answer, err := web.Get("http://daemon" + path)
		if err != nil {
			return 0, err.Error()
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Error(err)
		}
		return answer.StatusCode, string(body)
	}
	await(t, "ready", func() bool { code, _ := get("/readyz"); return code == http.StatusOK })

	l := newLoad(t, pool, "filling")
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for first := uint64(0); first < 150*16; first += 16 { // 10 MiB a second up to 150
		<-pace.C
		if err := l.fill(span(first, first+16, 1), 1); err != nil {
			t.Fatalf("write at %d MiB, of %s: %v", first/16, statusOf(t, pool).Data.Total, err)
		}
	}
	await(t, "its maximum", func() bool {
		_, body := get("/metrics")
		return strings.Contains(body, fmt.Sprintf(`thinctl_pool_condition{code="at-maximum",pool=%q} 1`, pool.Name()))
	})
	s := statusOf(t, pool)
	if s.Data.Total != 160*units.MiB || s.Kernel.Mode != dm.ModeWrite {
		t.Errorf("got %s of data in mode %s", s.Data.Total, s.Kernel.Mode)
	}
	sample := d.Samples()[0]
	if want := []string{daemon.AtMaximum, daemon.DataLow}; !slices.Equal(sample.Conditions, want) {
		t.Errorf("conditions %v, want %v", sample.Conditions, want)
	}
	l.intact(t, 0)
}

// mountedFiles mounts the host's own file systems.
type mountedFiles struct{ filesystem.Local }

func (mountedFiles) MountPoint(_ context.Context, device blockdev.Number) (string, error) {
	mounts, err := filesystem.Mounts(device)
	if len(mounts) == 0 {
		return "", err
	}
	return mounts[0].Path, err
}
