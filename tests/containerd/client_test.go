//go:build systemd

package containerd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	containers "github.com/containerd/containerd/api/services/containers/v1"
	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"thinctl/internal/contexts"
)

// client sends containerd the requests that ctr sends, without a process for each of them.
type client struct {
	ctx        context.Context
	snapshots  snapshots.SnapshotsClient
	containers containers.ContainersClient
	tasks      tasks.TasksClient

	image, top string
	spec       *anypb.Any // of a container whose name is example
}

const (
	snapshotter = "thinctl"
	// example is so long that it can be found in a specification by its text.
	example = "the-example-container"
)

// kept keeps containerd's garbage collector from objects that no container has yet.
var kept = map[string]string{"containerd.io/gc.root": "test"}

func (f *fixture) client(t *testing.T) *client {
	t.Helper()
	named := func(ctx context.Context, method string, asked, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
		o ...grpc.CallOption) error {
		if err := invoke(ctx, method, asked, answer, conn, o...); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		return nil
	}
	conn, err := grpc.NewClient("unix:"+f.c.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(named))
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	c := &client{ctx: metadata.AppendToOutgoingContext(f.ctx, "containerd-namespace", "default"), image: f.image,
		top:       f.top(t),
		snapshots: snapshots.NewSnapshotsClient(conn), containers: containers.NewContainersClient(conn), tasks: tasks.NewTasksClient(conn)}
	f.do(t, "containers", "create", "--snapshotter", snapshotter, f.image, example)
	got, err := c.containers.Get(c.ctx, &containers.GetContainerRequest{ID: example})
	check(t, err)
	c.spec = got.Container.Spec
	f.do(t, "containers", "rm", example)
	return c
}

func (c *client) prepare(key string) (*snapshots.PrepareSnapshotResponse, error) {
	return c.snapshots.Prepare(c.ctx,
		&snapshots.PrepareSnapshotRequest{Snapshotter: snapshotter, Key: key, Parent: c.top, Labels: kept})
}

func (c *client) remove(key string) error {
	_, err := c.snapshots.Remove(c.ctx, &snapshots.RemoveSnapshotRequest{Snapshotter: snapshotter, Key: key})
	return err
}

// specOf returns the example's specification with another name and another program.
func (c *client) specOf(name string, args []string) (*anypb.Any, error) {
	text := bytes.ReplaceAll(c.spec.Value, []byte(example), []byte(name))
	var spec map[string]any
	if err := json.Unmarshal(text, &spec); err != nil {
		return nil, err
	}
	process, ok := spec["process"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the specification has no process: %s", text)
	}
	process["args"] = args
	text, err := json.Marshal(spec)
	return &anypb.Any{TypeUrl: c.spec.TypeUrl, Value: text}, err
}

// create makes a container with a snapshot.
func (c *client) create(name string, args ...string) error {
	spec, err := c.specOf(name, args)
	if err != nil {
		return err
	}
	if _, err := c.prepare(name); err != nil {
		return err
	}
	_, err = c.containers.Create(c.ctx,
		&containers.CreateContainerRequest{Container: &containers.Container{ID: name, Image: c.image, Spec: spec,
			Runtime: &containers.Container_Runtime{Name: "io.containerd.runc.v2"}, Snapshotter: snapshotter, SnapshotKey: name}})
	return err
}

// mount makes containerd mount a container's snapshot, and runc prepare the process.
func (c *client) mount(name string) error {
	mounts, err := c.snapshots.Mounts(c.ctx, &snapshots.MountsRequest{Snapshotter: snapshotter, Key: name})
	if err != nil {
		return err
	}
	_, err = c.tasks.Create(c.ctx, &tasks.CreateTaskRequest{ContainerID: name, Rootfs: mounts.Mounts})
	return err
}

func (c *client) start(name string) error {
	_, err := c.tasks.Start(c.ctx, &tasks.StartRequest{ContainerID: name})
	return err
}

func (c *client) kill(name string) error {
	_, err := c.tasks.Kill(c.ctx, &tasks.KillRequest{ContainerID: name, Signal: uint32(syscall.SIGKILL), All: true})
	return err
}

// wait returns how a container's program has ended.
func (c *client) wait(name string) (status uint32, err error) {
	ended, err := c.tasks.Wait(c.ctx, &tasks.WaitRequest{ContainerID: name})
	if err != nil {
		return 0, err
	}
	return ended.ExitStatus, nil
}

// unmount undoes mount. containerd gives a shim a fixed time to end. Many shims on a slow
// machine exceed it, so the request is repeated.
func (c *client) unmount(name string) error {
	for attempt := 1; ; attempt++ {
		_, err := c.tasks.Delete(c.ctx, &tasks.DeleteTaskRequest{ContainerID: name})
		if err == nil || attempt > 1 && status.Code(err) == codes.NotFound {
			return nil
		}
		if attempt == 20 || !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
			return err
		}
		if err := contexts.Sleep(c.ctx, 3*time.Second); err != nil {
			return err
		}
	}
}

// drop removes a container with its snapshot.
func (c *client) drop(name string) error {
	_, err := c.containers.Delete(c.ctx, &containers.DeleteContainerRequest{ID: name})
	return errors.Join(err, c.remove(name))
}

// begin starts a container and returns a function that ends and removes it.
func (c *client) begin(name string, args ...string) error {
	return first(func() error { return c.create(name, args...) }, c.do(c.mount, name), c.do(c.start, name))
}

func (c *client) end(name string) error {
	waited := func() error { _, err := c.wait(name); return err }
	return first(c.do(c.kill, name), waited, c.do(c.unmount, name), c.do(c.drop, name))
}

func (c *client) do(what func(string) error, name string) func() error {
	return func() error { return what(name) }
}

// first calls functions one after the other until one fails.
func first(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
