//go:build systemd

package containerd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"testing"

	containers "github.com/containerd/containerd/api/services/containers/v1"
	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/anypb"
)

// client asks containerd what ctr asks it, without a process for each question.
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
	// example is long enough to be found in a specification by its text.
	example = "the-example-container"
)

// kept keeps containerd's garbage collector from what no container has yet.
var kept = map[string]string{"containerd.io/gc.root": "test"}

func (h *house) client(t *testing.T) *client {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+h.c.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	c := &client{ctx: metadata.AppendToOutgoingContext(h.ctx, "containerd-namespace", "default"), image: h.image, top: h.top(t),
		snapshots: snapshots.NewSnapshotsClient(conn), containers: containers.NewContainersClient(conn), tasks: tasks.NewTasksClient(conn)}
	h.do(t, "containers", "create", "--snapshotter", snapshotter, h.image, example)
	got, err := c.containers.Get(c.ctx, &containers.GetContainerRequest{ID: example})
	check(t, err)
	c.spec = got.Container.Spec
	h.do(t, "containers", "rm", example)
	return c
}

func (c *client) prepare(key string) (*snapshots.PrepareSnapshotResponse, error) {
	return c.snapshots.Prepare(c.ctx, &snapshots.PrepareSnapshotRequest{Snapshotter: snapshotter, Key: key, Parent: c.top, Labels: kept})
}

func (c *client) remove(key string) error {
	_, err := c.snapshots.Remove(c.ctx, &snapshots.RemoveSnapshotRequest{Snapshotter: snapshotter, Key: key})
	return err
}

// specOf is the example's specification with another name and another program.
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

// container makes a container, has it as that may be, and removes it again.
func (c *client) container(name string, args []string, have func() error) (err error) {
	spec, err := c.specOf(name, args)
	if err != nil {
		return err
	}
	if _, err := c.prepare(name); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	defer func() { err = errors.Join(err, c.remove(name)) }()
	_, err = c.containers.Create(c.ctx, &containers.CreateContainerRequest{Container: &containers.Container{ID: name, Image: c.image, Spec: spec,
		Runtime: &containers.Container_Runtime{Name: "io.containerd.runc.v2"}, Snapshotter: snapshotter, SnapshotKey: name}})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer func() {
		_, removed := c.containers.Delete(c.ctx, &containers.DeleteContainerRequest{ID: name})
		err = errors.Join(err, removed)
	}()
	return have()
}

// run has a container run its program to its end, or until it is killed. One that
// is not started is only made ready.
func (c *client) run(name string, args []string, start, kill bool) error {
	return c.container(name, args, func() (err error) {
		mounts, err := c.snapshots.Mounts(c.ctx, &snapshots.MountsRequest{Snapshotter: snapshotter, Key: name})
		if err != nil {
			return fmt.Errorf("mounts: %w", err)
		}
		if _, err := c.tasks.Create(c.ctx, &tasks.CreateTaskRequest{ContainerID: name, Rootfs: mounts.Mounts}); err != nil {
			return fmt.Errorf("create a task: %w", err)
		}
		defer func() {
			gone, deleted := c.tasks.Delete(c.ctx, &tasks.DeleteTaskRequest{ContainerID: name})
			if deleted == nil && start && !kill && gone.ExitStatus != 0 {
				deleted = fmt.Errorf("%q has ended with %d", args, gone.ExitStatus)
			}
			err = errors.Join(err, deleted)
		}()
		if !start {
			return nil
		}
		if _, err := c.tasks.Start(c.ctx, &tasks.StartRequest{ContainerID: name}); err != nil {
			return fmt.Errorf("start: %w", err)
		}
		if kill {
			if _, err := c.tasks.Kill(c.ctx, &tasks.KillRequest{ContainerID: name, Signal: uint32(syscall.SIGKILL), All: true}); err != nil {
				return fmt.Errorf("kill: %w", err)
			}
		}
		_, err = c.tasks.Wait(c.ctx, &tasks.WaitRequest{ContainerID: name})
		return err
	})
}
