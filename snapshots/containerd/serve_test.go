package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"thinctl/snapshots/containerd"
	"thinctl/thinpool/store"
	"thinctl/thinpool/thinpooltest"
)

// requests counts what Serve tells of.
type requests struct {
	sync.Mutex
	seen map[string]int
}

func (r *requests) observe(method string) (ended func(code string)) {
	return func(code string) {
		r.Lock()
		defer r.Unlock()
		r.seen[method+" "+code]++
	}
}

func (r *requests) count(what string) int {
	r.Lock()
	defer r.Unlock()
	return r.seen[what]
}

// serve serves the stage's snapshotter and returns a client of it.
func (st *stage) serve(o containerd.ServeOptions) (client api.SnapshotsClient, path string, stop func() error) {
	st.t.Helper()
	dir, err := os.MkdirTemp("", "s")
	check(st.t, err)
	st.t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "run", "s.sock")
	listener, err := containerd.Listen(path)
	check(st.t, err)
	ctx, cancel := context.WithCancel(st.ctx)
	ended := make(chan error, 1)
	go func() { ended <- containerd.Serve(ctx, listener, st.s, o) }()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(st.t, err)
	st.t.Cleanup(func() { conn.Close() })
	return api.NewSnapshotsClient(conn), path, sync.OnceValue(func() error { cancel(); return <-ended })
}

func coded(t *testing.T, err error, want codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%v has code %s, want %s", err, status.Code(err), want)
	}
	for _, word := range words {
		if err != nil && !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

func TestServe(t *testing.T) {
	st := newStage(t)
	seen := &requests{seen: map[string]int{}}
	client, path, stop := st.serve(containerd.ServeOptions{Observe: seen.observe})
	ctx := st.ctx
	for name, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		check(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
	}
	prepared, err := client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "one"})
	check(t, err)
	if m := prepared.GetMounts(); len(m) != 1 || m[0].GetType() != "ext4" || !strings.HasPrefix(m[0].GetSource(), "/dev/mapper/thinctl-vault-") {
		t.Errorf("mounts %v", m)
	}
	_, err = client.Commit(ctx, &api.CommitSnapshotRequest{Name: "a", Key: "one", Parent: "other"})
	coded(t, err, codes.Unimplemented, "other")
	_, err = client.Commit(ctx, &api.CommitSnapshotRequest{Name: "a", Key: "one"})
	check(t, err)
	for i := range 150 {
		_, err := client.Update(ctx, &api.UpdateSnapshotRequest{Info: &api.Info{Name: "a", Labels: map[string]string{"n": fmt.Sprint(i)}}})
		check(t, err)
	}
	_, err = client.View(ctx, &api.ViewSnapshotRequest{Key: "look", Parent: "a"})
	check(t, err)
	_, err = client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "look", Parent: "a"})
	coded(t, err, codes.AlreadyExists, "look")
	_, err = client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "new", Parent: "nobody"})
	coded(t, err, codes.NotFound, "nobody")
	_, err = client.Prepare(ctx, &api.PrepareSnapshotRequest{})
	coded(t, err, codes.InvalidArgument)
	_, err = client.Remove(ctx, &api.RemoveSnapshotRequest{Key: "a"})
	coded(t, err, codes.FailedPrecondition, "remove")
	_, err = client.Mounts(ctx, &api.MountsRequest{Key: "a"})
	coded(t, err, codes.FailedPrecondition)
	_, err = client.Update(ctx, &api.UpdateSnapshotRequest{Info: &api.Info{Name: "a"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"kind"}}})
	coded(t, err, codes.InvalidArgument)
	_, err = client.Update(ctx, &api.UpdateSnapshotRequest{})
	coded(t, err, codes.InvalidArgument)
	_, err = client.Usage(ctx, &api.UsageRequest{Key: "nobody"})
	coded(t, err, codes.NotFound)
	list, err := client.List(ctx, &api.ListSnapshotsRequest{Filters: []string{"kind==~("}})
	check(t, err)
	_, err = list.Recv()
	coded(t, err, codes.InvalidArgument)
	_, err = client.Cleanup(ctx, &api.CleanupRequest{})
	check(t, err)
	if n := seen.count("Update OK"); n != 150 {
		t.Errorf("%d updates were counted", n)
	}
	if seen.count("Prepare NotFound") != 1 || seen.count("List InvalidArgument") != 1 {
		t.Errorf("counted %v", seen.seen)
	}
	check(t, stop())
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// More than one message holds are listed all the same.
func TestListMany(t *testing.T) {
	st := newStage(t)
	st.layer("a", "")
	client, _, stop := st.serve(containerd.ServeOptions{})
	const many = 150
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			if _, err := client.View(st.ctx, &api.ViewSnapshotRequest{Key: fmt.Sprint("v", i), Parent: "a"}); err != nil {
				t.Errorf("view %d: %v", i, err)
			}
		})
	}
	all.Wait()
	list, err := client.List(st.ctx, &api.ListSnapshotsRequest{})
	check(t, err)
	n := 0
	for {
		block, err := list.Recv()
		if err != nil {
			break
		}
		n += len(block.GetInfo())
	}
	if n != many+1 {
		t.Errorf("%d snapshots are listed", n)
	}
	check(t, stop())
	check(t, st.takeDown())
}

// Below the reserve the message says what to do; a pool that is away is not a
// snapshot that is not there.
func TestRefusals(t *testing.T) {
	o := thinpooltest.SmallPool()
	o.Reserve = &store.Reserve{Data: 90}
	st := newStageOn(t, o)
	client, _, stop := st.serve(containerd.ServeOptions{})
	mounts, err := st.s.Prepare(st.ctx, "first", "", nil)
	check(t, err)
	check(t, st.with(mounts, func(root string) error {
		for i := range 250 { // some 160 of 1024 blocks
			if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i)), []byte("x"), 0o600); err != nil {
				return err
			}
		}
		return nil
	}))
	_, err = client.Prepare(st.ctx, &api.PrepareSnapshotRequest{Key: "second"})
	coded(t, err, codes.ResourceExhausted, "reserve", "thinctl pool extend vault")
	_, err = client.Remove(st.ctx, &api.RemoveSnapshotRequest{Key: "first"})
	check(t, err)
	st.s.Close()
	check(t, st.pool.Deactivate(st.ctx))
	for _, key := range []string{"first", "nobody"} {
		_, err = client.Remove(st.ctx, &api.RemoveSnapshotRequest{Key: key})
		if key == "first" && status.Code(err) != codes.NotFound {
			t.Errorf("removed twice: %v", err)
		}
		_, err = client.Prepare(st.ctx, &api.PrepareSnapshotRequest{Key: key})
		coded(t, err, codes.Unavailable, "thinctl pool activate vault")
	}
	check(t, os.Rename(st.pool.Dir(), st.pool.Dir()+".away"))
	for _, try := range []func() error{
		func() error { _, err := client.Stat(st.ctx, &api.StatSnapshotRequest{Key: "first"}); return err },
		func() error { _, err := client.Remove(st.ctx, &api.RemoveSnapshotRequest{Key: "first"}); return err },
		func() error { _, err := client.Prepare(st.ctx, &api.PrepareSnapshotRequest{Key: "new"}); return err },
		func() error { _, err := client.Cleanup(st.ctx, &api.CleanupRequest{}); return err },
	} {
		coded(t, try(), codes.Unavailable)
	}
	check(t, stop())
}

// A client that hangs up in the middle leaves a whole snapshot or none.
func TestHangUps(t *testing.T) {
	st := newStage(t)
	st.layer("a", "")
	client, _, stop := st.serve(containerd.ServeOptions{})
	for i := range 60 {
		ctx, cancel := context.WithTimeout(st.ctx, time.Duration(i)*100*time.Microsecond)
		client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "web", Parent: "a"})
		cancel()
		if _, err := client.Remove(st.ctx, &api.RemoveSnapshotRequest{Key: "web"}); err != nil && status.Code(err) != codes.NotFound {
			t.Fatalf("after hanging up: %v", err)
		}
	}
	check(t, stop()) // what was still under way has ended
	if _, err := st.s.Stat(st.ctx, "web"); err == nil {
		check(t, st.s.Remove(st.ctx, "web"))
	}
	check(t, st.agree())
	check(t, st.takeDown())
}

func TestListen(t *testing.T) {
	dir, err := os.MkdirTemp("", "s")
	check(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s.sock")
	first, err := containerd.Listen(path)
	check(t, err)
	_, err = containerd.Listen(path)
	is(t, err, containerd.ErrInUse, path)
	check(t, first.Close())
	first.Close()
	// What a killed process leaves.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	check(t, err)
	stale.SetUnlinkOnClose(false)
	_, err = containerd.Listen(path)
	is(t, err, containerd.ErrInUse) // it is not stale yet
	check(t, stale.Close())
	second, err := containerd.Listen(path)
	check(t, err)
	check(t, second.Close())
	check(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err = containerd.Listen(path)
	is(t, err, containerd.ErrInvalid, "no socket")
	_, err = containerd.Listen("/" + strings.Repeat("x", 101))
	is(t, err, containerd.ErrInvalid, "100")
	entries, err := os.ReadDir(dir)
	check(t, err)
	if len(entries) != 2 {
		t.Errorf("left in the folder: %v", entries)
	}
}
