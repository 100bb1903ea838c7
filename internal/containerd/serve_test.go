package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"thinctl/fault"
	"thinctl/internal/containerd"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
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
	if m := prepared.GetMounts(); len(m) != 1 || m[0].GetType() != "ext4" ||
		!strings.HasPrefix(m[0].GetSource(), "/dev/thinctl/thinctl-vault-") {
		t.Errorf("mounts %v", m)
	}
	_, err = client.Commit(ctx, &api.CommitSnapshotRequest{Name: "a", Key: "one", Parent: "other"})
	coded(t, err, codes.Unimplemented, "other")
	_, err = client.Commit(ctx, &api.CommitSnapshotRequest{Name: "a", Key: "one"})
	check(t, err)
	for i := range 150 {
		_, err := client.Update(
			ctx,
			&api.UpdateSnapshotRequest{Info: &api.Info{Name: "a", Labels: map[string]string{"n": fmt.Sprint(i)}}},
		)
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
	_, err = client.Update(
		ctx,
		&api.UpdateSnapshotRequest{
			Info:       &api.Info{Name: "a"},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"kind"}},
		},
	)
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
			if _, err := client.View(
				st.ctx,
				&api.ViewSnapshotRequest{Key: fmt.Sprint("v", i), Parent: "a"},
			); err != nil {
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
	o.Reserve = &thinpool.Reserve{Data: 90}
	st := newStageOn(t, o)
	client, _, stop := st.serve(containerd.ServeOptions{})
	mounts, err := st.s.Prepare(st.ctx, "first", "")
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
	coded(
		t,
		err,
		codes.ResourceExhausted,
		`prepare snapshot "second"`,
		"below the reserve",
		"the reserve is 90%",
		"run `thinctl pool extend vault",
	)
	_, err = client.Commit(st.ctx, &api.CommitSnapshotRequest{Name: "base", Key: "first"})
	check(t, err) // what there is can be finished, read and removed
	_, err = client.Prepare(st.ctx, &api.PrepareSnapshotRequest{Key: "second", Parent: "base"})
	coded(
		t,
		err,
		codes.ResourceExhausted,
		`prepare snapshot "second"`,
		"below the reserve",
		"thinctl pool extend vault",
	)
	_, err = client.View(st.ctx, &api.ViewSnapshotRequest{Key: "look", Parent: "base"}) // takes nothing
	check(t, err)
	_, err = client.Remove(st.ctx, &api.RemoveSnapshotRequest{Key: "look"})
	check(t, err)
	_, err = client.Usage(st.ctx, &api.UsageRequest{Key: "base"})
	check(t, err)
	if names := st.names(st.s); !slices.Equal(names, []string{"base"}) {
		t.Errorf("there are %q", names)
	}
	_, err = client.Remove(st.ctx, &api.RemoveSnapshotRequest{Key: "base"})
	check(t, err)
	mounts, err = st.s.Prepare(st.ctx, "first", "") // the blocks are back, or will be
	if err != nil {
		check(t, st.s.Cleanup(st.ctx))
		mounts, err = st.s.Prepare(st.ctx, "first", "")
	}
	check(t, err)
	check(t, st.has(mounts))
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
		func() error {
			_, err := client.View(st.ctx, &api.ViewSnapshotRequest{Key: "new", Parent: "first"})
			return err
		},
		func() error { _, err := client.Mounts(st.ctx, &api.MountsRequest{Key: "first"}); return err },
		func() error { _, err := client.Usage(st.ctx, &api.UsageRequest{Key: "first"}); return err },
		func() error {
			_, err := client.Commit(st.ctx, &api.CommitSnapshotRequest{Name: "x", Key: "first"})
			return err
		},
		func() error {
			_, err := client.Update(st.ctx, &api.UpdateSnapshotRequest{Info: &api.Info{Name: "first"}})
			return err
		},
		func() error {
			list, err := client.List(st.ctx, &api.ListSnapshotsRequest{})
			if err == nil {
				_, err = list.Recv()
			}
			return err
		},
	} {
		coded(t, try(), codes.Unavailable)
	}
	check(t, stop())
}

// No key, name, parent or label does harm, and what is refused leaves nothing.
func TestBadInput(t *testing.T) {
	st := newStage(t)
	client, path, stop := st.serve(containerd.ServeOptions{})
	ctx := st.ctx
	keys := []string{
		"a b",
		"../../etc/passwd",
		"/",
		"//",
		".",
		"-rf",
		"k8s/x",
		"new\nline",
		"nul\x00byte",
		"\u202eright",
		"%s%n",
		`quo"te'`,
		"ключ",
		"🗝",
		"thinctl",
		strings.Repeat("x", 1000),
		strings.Repeat("é/", 333),
	}
	for _, key := range keys {
		_, err := client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: key})
		check(t, err)
		_, err = client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: key})
		coded(t, err, codes.AlreadyExists)
		_, err = client.Mounts(ctx, &api.MountsRequest{Key: key})
		check(t, err)
		_, err = client.Commit(ctx, &api.CommitSnapshotRequest{Name: "of " + key, Key: key})
		check(t, err)
		_, err = client.View(
			ctx,
			&api.ViewSnapshotRequest{Key: key, Parent: "of " + key, Labels: map[string]string{key: key}},
		)
		check(t, err)
		found, err := client.Stat(ctx, &api.StatSnapshotRequest{Key: key})
		check(t, err)
		if info := found.GetInfo(); info.GetName() != key || info.GetParent() != "of "+key ||
			info.GetLabels()[key] != key {
			t.Errorf("%q is %v", key, info)
		}
	}
	if names := st.names(st.s); len(names) != 2*len(keys) {
		t.Errorf("%d snapshots of %d: %q", len(names), 2*len(keys), names)
	}
	for _, key := range keys {
		for _, name := range []string{key, "of " + key} {
			_, err := client.Remove(ctx, &api.RemoveSnapshotRequest{Key: name})
			check(t, err)
			_, err = client.Remove(ctx, &api.RemoveSnapshotRequest{Key: name})
			coded(t, err, codes.NotFound)
		}
	}
	st.layer("base", "")
	_, err := client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "active", Parent: "base"})
	check(t, err)
	long, sized := strings.Repeat("k", 16<<10+1), func(size string) map[string]string {
		return map[string]string{"containerd.io/snapshot/max-size": size}
	}
	many := map[string]string{}
	for i := range 100 {
		many[fmt.Sprint(i)] = strings.Repeat("v", 4000)
	}
	for name, labels := range map[string]map[string]string{"one label too long": {"k": strings.Repeat("v", 4096)}, "too many": many, "no key": {"": "v"},
		"no size": sized("lots"), "negative": sized("-1"), "zero": sized("0"), "a unit": sized("10G"), "vast": sized("9223372036854775807"), "beyond": sized("99999999999999999999")} {
		for _, create := range []func() error{
			func() error {
				_, err := client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "bad", Labels: labels})
				return err
			},
			func() error {
				_, err := client.View(ctx, &api.ViewSnapshotRequest{Key: "bad", Parent: "base", Labels: labels})
				return err
			},
		} {
			if err := create(); status.Code(err) != codes.InvalidArgument {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, size := labels["containerd.io/snapshot/max-size"]; size {
			continue
		}
		_, err := client.Commit(ctx, &api.CommitSnapshotRequest{Name: "bad", Key: "active", Labels: labels})
		coded(t, err, codes.InvalidArgument)
		_, err = client.Update(ctx, &api.UpdateSnapshotRequest{Info: &api.Info{Name: "active", Labels: labels}})
		coded(t, err, codes.InvalidArgument)
	}
	for _, test := range []struct {
		key, parent string
		want        codes.Code
	}{{"bad", "nobody", codes.NotFound}, {"bad", "active", codes.InvalidArgument}, {"bad", "bad", codes.NotFound}, {"bad", long, codes.InvalidArgument},
		{long, "base", codes.InvalidArgument}, {"", "base", codes.InvalidArgument}, {"active", "base", codes.AlreadyExists}, {"base", "base", codes.AlreadyExists}} {
		_, err := client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: test.key, Parent: test.parent})
		coded(t, err, test.want)
		_, err = client.View(ctx, &api.ViewSnapshotRequest{Key: test.key, Parent: test.parent})
		coded(t, err, test.want)
	}
	for _, name := range []string{"", long} {
		_, err := client.Commit(ctx, &api.CommitSnapshotRequest{Name: name, Key: "active"})
		coded(t, err, codes.InvalidArgument)
	}
	// Beyond what a message may be, and no text at all: gRPC itself refuses it.
	_, err = client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: strings.Repeat("k", 5<<20)})
	coded(t, err, codes.ResourceExhausted, "larger than max")
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	defer conn.Close()
	err = conn.Invoke(
		ctx,
		"/containerd.services.snapshots.v1.Snapshots/Cleanup",
		wrapperspb.Bytes([]byte("\xff\xfe")),
		&emptypb.Empty{},
	)
	coded(t, err, codes.Internal, "UTF-8")
	if names := st.names(st.s); !slices.Equal(names, []string{"active", "base"}) {
		t.Errorf("there are %q", names)
	}
	check(t, stop())
	check(t, st.agree())
	check(t, st.takeDown())
}

// Whoever hangs up in the middle of whatever call, or goes away with the
// connection, leaves it done or not done.
func TestHangUpsOfAll(t *testing.T) {
	st := newStage(t)
	st.layer("a", "")
	client, path, stop := st.serve(containerd.ServeOptions{})
	clear := func() {
		for _, key := range []string{"web", "look", "done"} {
			if _, err := client.Remove(
				st.ctx,
				&api.RemoveSnapshotRequest{Key: key},
			); err != nil &&
				status.Code(err) != codes.NotFound {
				t.Fatalf("after hanging up: %v", err)
			}
		}
	}
	calls := map[string]func(context.Context, api.SnapshotsClient){
		"view": func(ctx context.Context, c api.SnapshotsClient) {
			c.View(ctx, &api.ViewSnapshotRequest{Key: "look", Parent: "a"})
		},
		"mounts": func(ctx context.Context, c api.SnapshotsClient) { c.Mounts(ctx, &api.MountsRequest{Key: "web"}) },
		"commit": func(ctx context.Context, c api.SnapshotsClient) {
			c.Commit(ctx, &api.CommitSnapshotRequest{Name: "done", Key: "web"})
		},
		"usage": func(ctx context.Context, c api.SnapshotsClient) { c.Usage(ctx, &api.UsageRequest{Key: "web"}) },
		"remove": func(ctx context.Context, c api.SnapshotsClient) {
			c.Remove(ctx, &api.RemoveSnapshotRequest{Key: "web"})
		},
		"cleanup": func(ctx context.Context, c api.SnapshotsClient) { c.Cleanup(ctx, &api.CleanupRequest{}) },
		"list": func(ctx context.Context, c api.SnapshotsClient) {
			if list, err := c.List(ctx, &api.ListSnapshotsRequest{}); err == nil {
				list.Recv()
			}
		},
	}
	for name, call := range calls {
		for i := range 20 {
			if _, err := client.Prepare(st.ctx, &api.PrepareSnapshotRequest{Key: "web", Parent: "a"}); err != nil {
				t.Fatalf("before %s: %v", name, err)
			}
			ctx, cancel := context.WithTimeout(st.ctx, time.Duration(i)*150*time.Microsecond)
			if i%2 == 0 {
				call(ctx, client)
			} else { // the connection goes, as it does with its process
				conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
				check(t, err)
				hungUp := make(chan struct{})
				go func() { defer close(hungUp); call(st.ctx, api.NewSnapshotsClient(conn)) }()
				<-ctx.Done()
				check(t, conn.Close())
				<-hungUp
			}
			cancel()
			clear()
		}
	}
	check(t, stop()) // what was still under way has ended
	for _, name := range st.names(st.s) {
		if name != "a" {
			check(t, st.s.Remove(st.ctx, name))
		}
	}
	check(t, st.agree())
	check(t, st.takeDown())
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
		if _, err := client.Remove(
			st.ctx,
			&api.RemoveSnapshotRequest{Key: "web"},
		); err != nil &&
			status.Code(err) != codes.NotFound {
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
	is(t, err, fault.Busy, path)
	check(t, first.Close())
	first.Close()
	// What a killed process leaves.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	check(t, err)
	stale.SetUnlinkOnClose(false)
	_, err = containerd.Listen(path)
	is(t, err, fault.Busy) // it is not stale yet
	check(t, stale.Close())
	second, err := containerd.Listen(path)
	check(t, err)
	check(t, second.Close())
	check(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err = containerd.Listen(path)
	is(t, err, fault.Invalid, "not a socket")
	_, err = containerd.Listen("/" + strings.Repeat("x", 101))
	is(t, err, fault.Invalid, "100")
	entries, err := os.ReadDir(dir)
	check(t, err)
	if len(entries) != 2 {
		t.Errorf("left in the folder: %v", entries)
	}
}
