package sampler_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/internal/daemon/sampler"
	"thinctl/internal/filelock"
	"thinctl/internal/images"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/metrics"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// stage is a pool in memory with a layer, an image, two containers and two
// volumes of the user's own.
type stage struct {
	*testing.T
	world *snapshotstest.World
	pool  *thinpool.Pool
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{T: t, world: snapshotstest.New(t)}
	ctx := t.Context()
	var err error
	s.pool, err = thinpool.Create(ctx, s.world.Host(), s.world.Root, "vault", thinpool.CreateOptions{
		DataSize: 256 * units.MiB, MetadataSize: 4 * units.MiB, BaseSize: 64 * units.MiB, Reserve: &store.Reserve{Data: 10}})
	s.check(err)
	layers := snapshots.New(s.pool, s.world.Files, snapshots.Options{})
	first, err := layers.CreateContainer(ctx, snapshots.ContainerOptions{Name: "web", FS: filesystem.Ext4})
	s.check(err)
	image, err := images.New(layers, images.Options{}).Commit(ctx, first.ID, images.CommitOptions{})
	s.check(err)
	_, err = layers.CreateContainer(ctx, snapshots.ContainerOptions{Image: image.Key, Layer: image.Top()})
	s.check(err)
	for _, name := range []string{"web", "base"} { // a name that a container has too
		_, err = s.pool.CreateVolume(ctx, name, thinpool.VolumeOptions{Size: 16 * units.MiB})
		s.check(err)
	}
	base, err := s.pool.ActivateVolume(ctx, "base")
	s.check(err)
	s.check(s.world.Kernel.WriteStamp(base.Dev, 3, 1))
	s.check(s.world.Kernel.Flush(base.Dev))
	return s
}

func (s *stage) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// observed is a host whose kernel calls are written down.
func (s *stage) observed() (thinpool.Host, func() []string) {
	host := s.world.Host()
	w := &watched{Kernel: host.Kernel}
	host.Kernel = w
	return host, w.seen
}

type watched struct {
	dm.Kernel
	mu    sync.Mutex
	calls []string
}

func (w *watched) note(call string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, call)
}

func (w *watched) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

func (w *watched) Status(ctx context.Context, ref dm.Ref, o dm.StatusOptions) (dm.Info, []dm.Line, error) {
	w.note(fmt.Sprintf("status, flushing %t", !o.NoFlush))
	return w.Kernel.Status(ctx, ref, o)
}

func (w *watched) Message(ctx context.Context, ref dm.Ref, text string) (string, error) {
	w.note("message " + text)
	return w.Kernel.Message(ctx, ref, text)
}

// TestRead: a sample has what there is, and volumes that somebody named only.
func TestRead(t *testing.T) {
	s := newStage(t)
	sample := sampler.Take(t.Context(), s.world.Host(), s.world.Root, "vault", sampler.Options{VolumeLimit: metrics.DefaultVolumeLimit})
	s.check(sample.Err)
	if sample.Layers != 1 || sample.Containers != 2 || sample.Images != 1 || sample.Status.Volumes < 6 || sample.Took < 0 || sample.At.IsZero() {
		t.Errorf("%d layers, %d containers, %d images, %d volumes", sample.Layers, sample.Containers, sample.Images, sample.Status.Volumes)
	}
	var names []string
	for _, v := range sample.Volumes {
		mapped := "unknown"
		if v.Mapped != nil {
			mapped = v.Mapped.String()
		}
		if len(v.Name) > 12 {
			t.Errorf("a volume is called %s", v.Name)
		}
		names = append(names, fmt.Sprintf("%s %.3s %s %s", v.Kind, v.Name, v.Virtual, mapped))
	}
	unnamed := slices.IndexFunc(sample.Volumes, func(v metrics.Volume) bool { return v.Kind == metrics.KindContainer && v.Name != "web" })
	if unnamed < 0 {
		t.Fatal("the container without a name is not there")
	}
	want := []string{"volume bas 16M 64K", "volume web 16M unknown", "container web 64M unknown",
		fmt.Sprintf("container %.3s 64M unknown", sample.Volumes[unnamed].Name)}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("%q\nwant %q", names, want)
	}
	if few := sampler.TakeOf(t.Context(), s.pool, sampler.Options{VolumeLimit: 3}); few.Err != nil || len(few.Volumes) != 4 || few.Volumes[0].Mapped != nil {
		t.Errorf("above the limit volumes are asked what they have: %+v", few)
	}
}

// TestReadDisturbsNothing: with all locks of the pool held by somebody else, a
// sample is taken, and a scrape served; no message is sent, no status flushes,
// nothing is committed. A scrape does not ask the kernel at all.
func TestReadDisturbsNothing(t *testing.T) {
	s := newStage(t)
	lock, err := filelock.Acquire(t.Context(), filepath.Join(s.pool.Dir(), "lock"), filelock.Range{})
	s.check(err)
	defer lock.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	commits := s.world.Kernel.Commits()
	host, seen := s.observed()
	var samples []metrics.Sample
	for range 3 {
		samples = []metrics.Sample{sampler.Take(ctx, host, s.world.Root, "vault", sampler.Options{VolumeLimit: metrics.DefaultVolumeLimit})}
		s.check(samples[0].Err)
	}
	calls := seen()
	if len(calls) < 3 || slices.ContainsFunc(calls, func(call string) bool { return call != "status, flushing false" }) {
		t.Errorf("the kernel was asked for %q", calls)
	}
	before := s.world.Kernel.Calls()
	for range 10 {
		text(t, samples, 100)
	}
	if now := s.world.Kernel.Calls(); now != before {
		t.Errorf("a scrape made %d calls to the kernel", now-before)
	}
	if now := s.world.Kernel.Commits(); now != commits {
		t.Errorf("%d commits", now-commits)
	}
}

// TestReadFaults: what cannot be read is told, and what was read before stays.
func TestReadFaults(t *testing.T) {
	s := newStage(t)
	none := sampler.Take(t.Context(), s.world.Host(), s.world.Root, "none", sampler.Options{VolumeLimit: metrics.DefaultVolumeLimit})
	if !errors.Is(none.Err, thinpool.ErrNotFound) || none.Pool != "none" || none.At.IsZero() {
		t.Errorf("%+v", none)
	}
	host := s.world.Host()
	host.BeforeStore = func(bool) error { return errors.New("no database today") }
	if got := sampler.Take(t.Context(), host, s.world.Root, "vault", sampler.Options{VolumeLimit: metrics.DefaultVolumeLimit}); got.Err == nil {
		t.Errorf("%+v", got)
	}
	s.world.Kernel.SetFault(func(c dmtest.Call) error {
		if c.Op == "status" && c.Phase == dmtest.Before {
			return dm.ErrPermission
		}
		return nil
	})
	got := sampler.TakeOf(t.Context(), s.pool, sampler.Options{})
	s.world.Kernel.Restart()
	if !errors.Is(got.Err, dm.ErrPermission) || got.Pool != "vault" {
		t.Errorf("%+v", got)
	}
	s.check(s.pool.DeactivateVolume(t.Context(), "base"))
	s.check(s.pool.Deactivate(t.Context()))
	got = sampler.TakeOf(t.Context(), s.pool, sampler.Options{VolumeLimit: 100})
	if got.Err != nil || got.Status.Active || got.Containers != 2 || len(got.Volumes) != 4 || got.Volumes[0].Mapped != nil {
		t.Errorf("of an inactive pool: %+v", got)
	}
}

// TestNoDigests: no label has anything that is named by a digest.
func TestNoDigests(t *testing.T) {
	s := newStage(t)
	sample := sampler.TakeOf(t.Context(), s.pool, sampler.Options{VolumeLimit: 100})
	usage, err := s.pool.Usage(t.Context(), thinpool.UsageOptions{})
	s.check(errors.Join(err, sample.Err))
	if usage.Unmapped != 0 || usage.Used != units.Bytes(sample.Status.Kernel.UsedData)*sample.Status.Record.Block {
		t.Errorf("%s unmapped, %s used", usage.Unmapped, usage.Used)
	}
	sample.Scan = &metrics.Scan{At: time.Now(), Usage: usage}
	exported := text(t, []metrics.Sample{sample}, 4)
	uuid := `uuid="` + sample.Status.UUID + `"`
	if found := regexp.MustCompile(`[0-9a-f]{13,}"|layer-|init-|template-`).FindAllString(strings.Replace(exported, uuid, "", 1), -1); len(found) > 0 {
		t.Errorf("%q in\n%s", found, exported)
	}
	if !strings.Contains(exported, `thinctl_volume_exclusive_bytes{kind="volume",pool="vault",volume="base"} 65536`) {
		t.Errorf("base is not there:\n%s", exported)
	}
	for limit := range 4 {
		if exported := text(t, []metrics.Sample{sample}, limit); strings.Contains(exported, "thinctl_volume_") {
			t.Errorf("volumes of a pool with 4 are exported above a limit of %d", limit)
		}
	}
}

// text returns what a scrape of the samples returns.
func text(t *testing.T, samples []metrics.Sample, limit int) string {
	t.Helper()
	var b strings.Builder
	if err := metrics.WriteText(&b, samples, metrics.Options{VolumeLimit: limit}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
