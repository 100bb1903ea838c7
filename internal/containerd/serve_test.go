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

// requests counts the requests that Serve reports.
type requests struct {
	sync.Mutex
	seen map[string]int
}

// observe implements the hook of ServeOptions.
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

// serve serves the fixture's snapshotter and returns a client of it.
func (f *fixture) serve(o containerd.ServeOptions) (client api.SnapshotsClient, path string, stop func() error) {
	f.T.Helper()
	dir, err := os.MkdirTemp("", "s")
	check(f.T, err)
	f.T.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "run", "s.sock")
	listener, err := containerd.Listen(path)
	check(f.T, err)
	ctx, cancel := context.WithCancel(f.Ctx)
	ended := make(chan error, 1)
	go func() { ended <- containerd.Serve(ctx, listener, f.S, o) }()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(f.T, err)
	f.T.Cleanup(func() { conn.Close() })
	return api.NewSnapshotsClient(conn), path, sync.OnceValue(func() error { cancel(); return <-ended })
}

// wantCode checks the gRPC code of an error and that its text contains these words.
func wantCode(t *testing.T, err error, want codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("got error %v with code %s, want %s", err, status.Code(err), want)
	}
	for _, word := range words {
		if err != nil && !strings.Contains(err.Error(), word) {
			t.Errorf("got error %q, want %q in its text", err, word)
		}
	}
}

func TestServe(t *testing.T) {
	f := newFixture(t)
	seen := &requests{seen: map[string]int{}}
	client, path, stop := f.serve(containerd.ServeOptions{Observe: seen.observe})
	ctx := f.Ctx
	for name, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		check(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s: got mode %s, want %s", name, info.Mode(), mode)
		}
	}
	prepared, err := client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "one"})
	check(t, err)
	if m := prepared.GetMounts(); len(m) != 1 || m[0].GetType() != "ext4" ||
		!strings.HasPrefix(m[0].GetSource(), "/dev/thinctl/thinctl-vault-") {
		t.Errorf("got mounts %v, want one ext4 device of the pool", m)
	}
	_, err = client.Commit(ctx, &api.CommitSnapshotRequest{Name: "a", Key: "one", Parent: "other"})
	wantCode(t, err, codes.Unimplemented, "other")
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
	wantCode(t, err, codes.AlreadyExists, "look")
	_, err = client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "new", Parent: "missing"})
	wantCode(t, err, codes.NotFound, "missing")
	_, err = client.Prepare(ctx, &api.PrepareSnapshotRequest{})
	wantCode(t, err, codes.InvalidArgument)
	_, err = client.Remove(ctx, &api.RemoveSnapshotRequest{Key: "a"})
	wantCode(t, err, codes.FailedPrecondition, "remove")
	_, err = client.Mounts(ctx, &api.MountsRequest{Key: "a"})
	wantCode(t, err, codes.FailedPrecondition)
	_, err = client.Update(
		ctx,
		&api.UpdateSnapshotRequest{
			Info:       &api.Info{Name: "a"},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"kind"}},
		},
	)
	wantCode(t, err, codes.InvalidArgument)
	_, err = client.Update(ctx, &api.UpdateSnapshotRequest{})
	wantCode(t, err, codes.InvalidArgument)
	_, err = client.Usage(ctx, &api.UsageRequest{Key: "missing"})
	wantCode(t, err, codes.NotFound)
	list, err := client.List(ctx, &api.ListSnapshotsRequest{Filters: []string{"kind==~("}})
	check(t, err)
	_, err = list.Recv()
	wantCode(t, err, codes.InvalidArgument)
	_, err = client.Cleanup(ctx, &api.CleanupRequest{})
	check(t, err)
	if n := seen.count("Update OK"); n != 150 {
		t.Errorf("got %d updates counted, want 150", n)
	}
	if seen.count("Prepare NotFound") != 1 || seen.count("List InvalidArgument") != 1 {
		t.Errorf("got counts %v, want 1 of Prepare NotFound and of List InvalidArgument", seen.seen)
	}
	check(t, stop())
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket after Serve has returned: got error %v, want it absent", err)
	}
}

// List returns more snapshots than fit into one message.
func TestListMany(t *testing.T) {
	f := newFixture(t)
	f.Layer("a", "")
	client, _, stop := f.serve(containerd.ServeOptions{})
	const many = 150
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			if _, err := client.View(
				f.Ctx,
				&api.ViewSnapshotRequest{Key: fmt.Sprint("v", i), Parent: "a"},
			); err != nil {
				t.Errorf("view %d: %v", i, err)
			}
		})
	}
	all.Wait()
	list, err := client.List(f.Ctx, &api.ListSnapshotsRequest{})
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
		t.Errorf("got %d snapshots listed, want %d", n, many+1)
	}
	check(t, stop())
	check(t, f.RemoveAll())
}

// Below the reserve the message names the command that helps. A pool that is unavailable is not reported as a missing
// snapshot.
func TestRefusals(t *testing.T) {
	o := thinpooltest.SmallPool()
	o.Reserve = &thinpool.Reserve{Data: 90}
	f := newFixtureOn(t, o)
	client, _, stop := f.serve(containerd.ServeOptions{})
	mounts, err := f.S.Prepare(f.Ctx, "first", "")
	check(t, err)
	check(t, f.With(mounts, func(root string) error {
		for i := range 250 { // some 160 of 1024 blocks
			if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i)), []byte("x"), 0o600); err != nil {
				return err
			}
		}
		return nil
	}))
	_, err = client.Prepare(f.Ctx, &api.PrepareSnapshotRequest{Key: "second"})
	wantCode(
		t,
		err,
		codes.ResourceExhausted,
		`prepare snapshot "second"`,
		"below the reserve",
		"the reserve is 90%",
		"run `thinctl pool extend vault",
	)
	_, err = client.Commit(f.Ctx, &api.CommitSnapshotRequest{Name: "base", Key: "first"})
	check(t, err) // existing snapshots can be committed, read and removed
	_, err = client.Prepare(f.Ctx, &api.PrepareSnapshotRequest{Key: "second", Parent: "base"})
	wantCode(
		t,
		err,
		codes.ResourceExhausted,
		`prepare snapshot "second"`,
		"below the reserve",
		"thinctl pool extend vault",
	)
	_, err = client.View(f.Ctx, &api.ViewSnapshotRequest{Key: "look", Parent: "base"}) // allocates no block
	check(t, err)
	_, err = client.Remove(f.Ctx, &api.RemoveSnapshotRequest{Key: "look"})
	check(t, err)
	_, err = client.Usage(f.Ctx, &api.UsageRequest{Key: "base"})
	check(t, err)
	if names := f.Names(f.S); !slices.Equal(names, []string{"base"}) {
		t.Errorf("got snapshots %q, want base", names)
	}
	_, err = client.Remove(f.Ctx, &api.RemoveSnapshotRequest{Key: "base"})
	check(t, err)
	mounts, err = f.S.Prepare(f.Ctx, "first", "") // the blocks of base are freed, at the latest by Cleanup
	if err != nil {
		check(t, f.S.Cleanup(f.Ctx))
		mounts, err = f.S.Prepare(f.Ctx, "first", "")
	}
	check(t, err)
	check(t, f.Has(mounts))
	_, err = client.Remove(f.Ctx, &api.RemoveSnapshotRequest{Key: "first"})
	check(t, err)
	f.S.Close()
	check(t, f.Pool.Deactivate(f.Ctx))
	for _, key := range []string{"first", "missing"} {
		_, err = client.Remove(f.Ctx, &api.RemoveSnapshotRequest{Key: key})
		if key == "first" && status.Code(err) != codes.NotFound {
			t.Errorf("second removal: got error %v, want NotFound", err)
		}
		_, err = client.Prepare(f.Ctx, &api.PrepareSnapshotRequest{Key: key})
		wantCode(t, err, codes.Unavailable, "thinctl pool activate vault")
	}
	check(t, os.Rename(f.Pool.Dir(), f.Pool.Dir()+".moved"))
	for _, try := range []func() error{
		func() error { _, err := client.Stat(f.Ctx, &api.StatSnapshotRequest{Key: "first"}); return err },
		func() error { _, err := client.Remove(f.Ctx, &api.RemoveSnapshotRequest{Key: "first"}); return err },
		func() error { _, err := client.Prepare(f.Ctx, &api.PrepareSnapshotRequest{Key: "new"}); return err },
		func() error { _, err := client.Cleanup(f.Ctx, &api.CleanupRequest{}); return err },
		func() error {
			_, err := client.View(f.Ctx, &api.ViewSnapshotRequest{Key: "new", Parent: "first"})
			return err
		},
		func() error { _, err := client.Mounts(f.Ctx, &api.MountsRequest{Key: "first"}); return err },
		func() error { _, err := client.Usage(f.Ctx, &api.UsageRequest{Key: "first"}); return err },
		func() error {
			_, err := client.Commit(f.Ctx, &api.CommitSnapshotRequest{Name: "x", Key: "first"})
			return err
		},
		func() error {
			_, err := client.Update(f.Ctx, &api.UpdateSnapshotRequest{Info: &api.Info{Name: "first"}})
			return err
		},
		func() error {
			list, err := client.List(f.Ctx, &api.ListSnapshotsRequest{})
			if err == nil {
				_, err = list.Recv()
			}
			return err
		},
	} {
		wantCode(t, try(), codes.Unavailable)
	}
	check(t, stop())
}

// Every key, name, parent and label is either accepted or rejected, and a rejected request leaves nothing behind.
func TestBadInput(t *testing.T) {
	f := newFixture(t)
	client, path, stop := f.serve(containerd.ServeOptions{})
	ctx := f.Ctx
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
		t.Run(fmt.Sprintf("key %.20q", key), func(t *testing.T) {
			_, err := client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: key})
			check(t, err)
			_, err = client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: key})
			wantCode(t, err, codes.AlreadyExists)
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
				t.Errorf("snapshot %q: got %v, want its name, parent and label", key, info)
			}
		})
	}
	if names := f.Names(f.S); len(names) != 2*len(keys) {
		t.Errorf("got %d snapshots, want %d: %q", len(names), 2*len(keys), names)
	}
	for _, key := range keys {
		for _, name := range []string{key, "of " + key} {
			_, err := client.Remove(ctx, &api.RemoveSnapshotRequest{Key: name})
			check(t, err)
			_, err = client.Remove(ctx, &api.RemoveSnapshotRequest{Key: name})
			wantCode(t, err, codes.NotFound)
		}
	}
	f.Layer("base", "")
	_, err := client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "active", Parent: "base"})
	check(t, err)
	long, sized := strings.Repeat("k", 16<<10+1), func(size string) map[string]string {
		return map[string]string{"containerd.io/snapshot/max-size": size}
	}
	many := map[string]string{}
	for i := range 100 {
		many[fmt.Sprint(i)] = strings.Repeat("v", 4000)
	}
	for name, labels := range map[string]map[string]string{
		"label too long":           {"k": strings.Repeat("v", 4096)},
		"labels too long together": many,
		"no key":                   {"": "v"},
		"size no number":           sized("lots"),
		"size negative":            sized("-1"),
		"size zero":                sized("0"),
		"size with a unit":         sized("10G"),
		"size above a volume's":    sized("9223372036854775807"),
		"size above 64 bits":       sized("99999999999999999999"),
	} {
		t.Run(name, func(t *testing.T) {
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
				wantCode(t, create(), codes.InvalidArgument)
			}
			if _, size := labels["containerd.io/snapshot/max-size"]; size {
				return
			}
			_, err := client.Commit(ctx, &api.CommitSnapshotRequest{Name: "bad", Key: "active", Labels: labels})
			wantCode(t, err, codes.InvalidArgument)
			_, err = client.Update(ctx, &api.UpdateSnapshotRequest{Info: &api.Info{Name: "active", Labels: labels}})
			wantCode(t, err, codes.InvalidArgument)
		})
	}
	for _, test := range []struct {
		key, parent string
		want        codes.Code
	}{
		{"bad", "missing", codes.NotFound},
		{"bad", "active", codes.InvalidArgument},
		{"bad", "bad", codes.NotFound},
		{"bad", long, codes.InvalidArgument},
		{long, "base", codes.InvalidArgument},
		{"", "base", codes.InvalidArgument},
		{"active", "base", codes.AlreadyExists},
		{"base", "base", codes.AlreadyExists},
	} {
		t.Run(fmt.Sprintf("key %.20q, parent %.20q", test.key, test.parent), func(t *testing.T) {
			_, err := client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: test.key, Parent: test.parent})
			wantCode(t, err, test.want)
			_, err = client.View(ctx, &api.ViewSnapshotRequest{Key: test.key, Parent: test.parent})
			wantCode(t, err, test.want)
		})
	}
	for _, name := range []string{"", long} {
		_, err := client.Commit(ctx, &api.CommitSnapshotRequest{Name: name, Key: "active"})
		wantCode(t, err, codes.InvalidArgument)
	}
	// gRPC itself rejects a message that is too large and a string that is not UTF-8.
	_, err = client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: strings.Repeat("k", 5<<20)})
	wantCode(t, err, codes.ResourceExhausted, "larger than max")
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	defer conn.Close()
	err = conn.Invoke(
		ctx,
		"/containerd.services.snapshots.v1.Snapshots/Cleanup",
		wrapperspb.Bytes([]byte("\xff\xfe")),
		&emptypb.Empty{},
	)
	wantCode(t, err, codes.Internal, "UTF-8")
	if names := f.Names(f.S); !slices.Equal(names, []string{"active", "base"}) {
		t.Errorf("got snapshots %q, want active and base", names)
	}
	check(t, stop())
	check(t, f.VerifyAll())
	check(t, f.RemoveAll())
}

// A client that cancels a call, or loses the connection during it, leaves it done or undone.
func TestCancelledCalls(t *testing.T) {
	f := newFixture(t)
	f.Layer("a", "")
	client, path, stop := f.serve(containerd.ServeOptions{})
	removeAll := func(t *testing.T) {
		t.Helper()
		for _, key := range []string{"web", "look", "done"} {
			if _, err := client.Remove(
				f.Ctx,
				&api.RemoveSnapshotRequest{Key: key},
			); err != nil &&
				status.Code(err) != codes.NotFound {
				t.Fatalf("remove %s after the cancelled call: %v", key, err)
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
		t.Run(name, func(t *testing.T) {
			for i := range 20 {
				if _, err := client.Prepare(f.Ctx, &api.PrepareSnapshotRequest{Key: "web", Parent: "a"}); err != nil {
					t.Fatalf("prepare before the call: %v", err)
				}
				ctx, cancel := context.WithTimeout(f.Ctx, time.Duration(i)*150*time.Microsecond)
				if i%2 == 0 {
					call(ctx, client)
				} else { // close the connection, as the end of the client's process does
					conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
					check(t, err)
					returned := make(chan struct{})
					go func() { defer close(returned); call(f.Ctx, api.NewSnapshotsClient(conn)) }()
					<-ctx.Done()
					check(t, conn.Close())
					<-returned
				}
				cancel()
				removeAll(t)
			}
		})
	}
	check(t, stop()) // waits for the calls in progress
	for _, name := range f.Names(f.S) {
		if name != "a" {
			check(t, f.S.Remove(f.Ctx, name))
		}
	}
	check(t, f.VerifyAll())
	check(t, f.RemoveAll())
}

// A client that cancels a Prepare leaves a complete snapshot or none.
func TestCancelledPrepare(t *testing.T) {
	f := newFixture(t)
	f.Layer("a", "")
	client, _, stop := f.serve(containerd.ServeOptions{})
	for i := range 60 {
		ctx, cancel := context.WithTimeout(f.Ctx, time.Duration(i)*100*time.Microsecond)
		client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "web", Parent: "a"})
		cancel()
		if _, err := client.Remove(
			f.Ctx,
			&api.RemoveSnapshotRequest{Key: "web"},
		); err != nil &&
			status.Code(err) != codes.NotFound {
			t.Fatalf("remove after the cancelled call: %v", err)
		}
	}
	check(t, stop()) // waits for the calls in progress
	if _, err := f.S.Stat(f.Ctx, "web"); err == nil {
		check(t, f.S.Remove(f.Ctx, "web"))
	}
	check(t, f.VerifyAll())
	check(t, f.RemoveAll())
}

func TestListen(t *testing.T) {
	dir, err := os.MkdirTemp("", "s")
	check(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s.sock")
	first, err := containerd.Listen(path)
	check(t, err)
	_, err = containerd.Listen(path)
	wantError(t, err, fault.Busy, path)
	check(t, first.Close())
	first.Close()
	// A killed process leaves its socket behind.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	check(t, err)
	stale.SetUnlinkOnClose(false)
	_, err = containerd.Listen(path)
	wantError(t, err, fault.Busy) // it is not stale yet
	check(t, stale.Close())
	second, err := containerd.Listen(path)
	check(t, err)
	check(t, second.Close())
	check(t, os.WriteFile(path, []byte("a user's file"), 0o600))
	_, err = containerd.Listen(path)
	wantError(t, err, fault.Invalid, "not a socket")
	_, err = containerd.Listen("/" + strings.Repeat("x", 101))
	wantError(t, err, fault.Invalid, "100")
	entries, err := os.ReadDir(dir)
	check(t, err)
	if len(entries) != 2 {
		t.Errorf("got %v in the directory, want 2 entries", entries)
	}
}
