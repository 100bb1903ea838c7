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
	"thinctl/fault"
	"thinctl/internal/daemon/sampler"
	"thinctl/internal/filelock"
	"thinctl/internal/images"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/metrics"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// fixture is an in-memory pool with a layer, an image, two containers and two volumes.
type fixture struct {
	*testing.T
	host *snapshotstest.Fixture
	pool *thinpool.Pool
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, host: snapshotstest.New(t)}
	ctx := t.Context()
	var err error
	f.pool, err = thinpool.Create(ctx, f.host.Host(), f.host.Root, "vault", thinpool.CreateOptions{
		DataSize: 256 * units.MiB, MetadataSize: 4 * units.MiB, BaseSize: 64 * units.MiB, Reserve: &thinpool.Reserve{Data: 10}})
	f.check(err)
	store := layers.New(f.pool, f.host.Files, layers.Options{})
	first, err := store.CreateContainer(ctx, layers.ContainerOptions{Name: "web", FS: filesystem.Ext4})
	f.check(err)
	image, err := images.New(store, images.Options{}).Commit(ctx, first.ID, images.CommitOptions{})
	f.check(err)
	_, err = store.CreateContainer(ctx, layers.ContainerOptions{Image: image.Key, Layer: image.Top()})
	f.check(err)
	for _, name := range []string{"web", "base"} { // a container has the name web, too
		_, err = f.pool.CreateVolume(ctx, name, thinpool.VolumeOptions{Size: 16 * units.MiB})
		f.check(err)
	}
	base, err := f.pool.ActivateVolume(ctx, "base")
	f.check(err)
	f.check(f.host.Kernel.WriteStamp(base.Dev, 3, 1))
	f.check(f.host.Kernel.Flush(base.Dev))
	return f
}

func (f *fixture) check(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// recorded is a host whose kernel calls are written down.
func (f *fixture) recorded() (thinpool.Host, func() []string) {
	host := f.host.Host()
	r := &recorder{Kernel: host.Kernel}
	host.Kernel = r
	return host, r.recordedCalls
}

type recorder struct {
	dm.Kernel
	mu    sync.Mutex
	calls []string
}

func (r *recorder) note(call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
}

func (r *recorder) recordedCalls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

func (r *recorder) Status(ctx context.Context, ref dm.Ref, o dm.StatusOptions) (dm.Info, []dm.Line, error) {
	r.note(fmt.Sprintf("status, flushing %t", !o.NoFlush))
	return r.Kernel.Status(ctx, ref, o)
}

func (r *recorder) Message(ctx context.Context, ref dm.Ref, text string) (string, error) {
	r.note("message " + text)
	return r.Kernel.Message(ctx, ref, text)
}

var allVolumes = sampler.Options{VolumeLimit: metrics.DefaultVolumeLimit}

// A sample has all counts, and only the volumes that users have named.
func TestTake(t *testing.T) {
	f := newFixture(t)
	sample := sampler.Take(t.Context(), f.host.Host(), f.host.Root, "vault", allVolumes)
	f.check(sample.Err)
	if sample.Layers != 1 || sample.Containers != 2 || sample.Images != 1 || sample.Status.Volumes < 6 {
		t.Errorf("got %d layers, %d containers, %d images, %d volumes, want 1, 2, 1, at least 6",
			sample.Layers, sample.Containers, sample.Images, sample.Status.Volumes)
	}
	if sample.Took < 0 || sample.At.IsZero() {
		t.Errorf("got a sample of %s that took %s, want a time and a duration", sample.At, sample.Took)
	}
	var names []string
	for _, v := range sample.Volumes {
		mapped := "unknown"
		if v.Mapped != nil {
			mapped = v.Mapped.String()
		}
		if len(v.Name) > 12 {
			t.Errorf("volume name: got %s, want at most 12 characters", v.Name)
		}
		names = append(names, fmt.Sprintf("%s %.3s %s %s", v.Kind, v.Name, v.Virtual, mapped))
	}
	unnamed := slices.IndexFunc(sample.Volumes, func(v metrics.Volume) bool {
		return v.Kind == metrics.KindContainer && v.Name != "web"
	})
	if unnamed < 0 {
		t.Fatal("the container without a name is missing")
	}
	want := []string{"volume bas 16M 64K", "volume web 16M unknown", "container web 64M unknown",
		fmt.Sprintf("container %.3s 64M unknown", sample.Volumes[unnamed].Name)}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("got %q\nwant %q", names, want)
	}
	few := sampler.TakeOf(t.Context(), f.pool, sampler.Options{VolumeLimit: 3})
	if few.Err != nil || len(few.Volumes) != 4 || few.Volumes[0].Mapped != nil {
		t.Errorf("above the limit: got %+v, want 4 volumes without their mapped sizes", few)
	}
}

// A sample is taken while another process holds all locks of the pool. It sends no
// message, and no status flushes or commits. A scrape makes no call into the kernel.
func TestTakeWithoutSideEffects(t *testing.T) {
	f := newFixture(t)
	lock, err := filelock.Acquire(t.Context(), filepath.Join(f.pool.Dir(), "lock"), filelock.Range{})
	f.check(err)
	defer lock.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	commits := f.host.Kernel.Commits()
	host, recordedCalls := f.recorded()
	var samples []metrics.Sample
	for range 3 {
		samples = []metrics.Sample{sampler.Take(ctx, host, f.host.Root, "vault", allVolumes)}
		f.check(samples[0].Err)
	}
	calls := recordedCalls()
	if len(calls) < 3 || slices.ContainsFunc(calls, func(call string) bool { return call != "status, flushing false" }) {
		t.Errorf("calls into the kernel: got %q, want at least 3, all of them status without a flush", calls)
	}
	before := f.host.Kernel.Calls()
	for range 10 {
		text(t, samples, 100)
	}
	if now := f.host.Kernel.Calls(); now != before {
		t.Errorf("10 scrapes: got %d calls into the kernel, want none", now-before)
	}
	if now := f.host.Kernel.Commits(); now != commits {
		t.Errorf("got %d commits, want none", now-commits)
	}
}

// A pool that cannot be read has a sample with an error.
func TestTakeErrors(t *testing.T) {
	f := newFixture(t)
	none := sampler.Take(t.Context(), f.host.Host(), f.host.Root, "none", allVolumes)
	if !errors.Is(none.Err, fault.NotFound) || none.Pool != "none" || none.At.IsZero() {
		t.Errorf("a missing pool: got %+v, want %v", none, fault.NotFound)
	}
	host := f.host.Host()
	host.BeforeStore = func(bool) error { return errors.New("no database") }
	if got := sampler.Take(t.Context(), host, f.host.Root, "vault", allVolumes); got.Err == nil {
		t.Errorf("without its database: got %+v, want an error", got)
	}
	f.host.Kernel.SetFault(func(c dmtest.Call) error {
		if c.Op == "status" && c.Phase == dmtest.Before {
			return fault.Denied
		}
		return nil
	})
	got := sampler.TakeOf(t.Context(), f.pool, sampler.Options{})
	f.host.Kernel.Restart()
	if !errors.Is(got.Err, fault.Denied) || got.Pool != "vault" {
		t.Errorf("without the kernel's status: got %+v, want %v", got, fault.Denied)
	}
	f.check(f.pool.DeactivateVolume(t.Context(), "base"))
	f.check(f.pool.Deactivate(t.Context()))
	got = sampler.TakeOf(t.Context(), f.pool, sampler.Options{VolumeLimit: 100})
	if got.Err != nil || got.Status.Active || got.Containers != 2 || len(got.Volumes) != 4 || got.Volumes[0].Mapped != nil {
		t.Errorf("an inactive pool: got %+v, want 2 containers, and 4 volumes without mapped sizes", got)
	}
}

// No label has the name of an object that is named by a digest.
func TestNoDigests(t *testing.T) {
	f := newFixture(t)
	sample := sampler.TakeOf(t.Context(), f.pool, sampler.Options{VolumeLimit: 100})
	usage, err := f.pool.Usage(t.Context(), thinpool.UsageOptions{})
	f.check(errors.Join(err, sample.Err))
	if usage.Unmapped != 0 || usage.Used != units.Bytes(sample.Status.Kernel.UsedData)*sample.Status.Record.Block {
		t.Errorf("usage: got %s unmapped and %s used, want 0 unmapped and the kernel's size", usage.Unmapped, usage.Used)
	}
	sample.Scan = &metrics.Scan{At: time.Now(), Usage: usage}
	exported := text(t, []metrics.Sample{sample}, 4)
	uuid := `uuid="` + sample.Status.UUID + `"`
	digests := regexp.MustCompile(`[0-9a-f]{13,}"|layer-|init-|template-`)
	if found := digests.FindAllString(strings.Replace(exported, uuid, "", 1), -1); len(found) > 0 {
		t.Errorf("got %q, want none of these in\n%s", found, exported)
	}
	if !strings.Contains(exported, `thinctl_volume_exclusive_bytes{kind="volume",pool="vault",volume="base"} 65536`) {
		t.Errorf("got no volume base in\n%s", exported)
	}
	for limit := range 4 {
		if exported := text(t, []metrics.Sample{sample}, limit); strings.Contains(exported, "thinctl_volume_") {
			t.Errorf("4 volumes with a limit of %d: got volumes, want none in\n%s", limit, exported)
		}
	}
}

// text returns the samples in the text format.
func text(t *testing.T, samples []metrics.Sample, limit int) string {
	t.Helper()
	var b strings.Builder
	if err := metrics.WriteText(&b, samples, metrics.Options{VolumeLimit: limit}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
