package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	containers "github.com/containerd/containerd/api/services/containers/v1"
	api "github.com/containerd/containerd/api/services/snapshots/v1"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"google.golang.org/protobuf/types/known/anypb"
)

// startAll starts the crowd of containers, and removes it.
func (p plan) startAll(ctx context.Context, r results, of *server, top string) error {
	name := func(n int) string { return fmt.Sprintf("crowd-%s-%03d", of.title, n) }
	roots := make([]time.Duration, p.crowd)
	took, wall, err := together(p.crowd, func(n int) (err error) {
		roots[n], err = of.startOne(ctx, name(n), top)
		return err
	})
	if err == nil {
		r.at(key{of.title, start, 0, 0}).add(wall, 1, wall)
		r.at(key{of.title, startOne, 0, 0}).add(wall, p.crowd, took...)
		r.at(key{of.title, startRoot, 0, 0}).add(wall, p.crowd, roots...)
	} else {
		err = fmt.Errorf("starting %d containers: %w", p.crowd, err)
	}
	if err != nil {
		return err
	}
	began := time.Now()
	if _, _, err := together(p.crowd, func(n int) error { return of.endOne(ctx, name(n)) }); err != nil {
		return fmt.Errorf("ending %d containers: %w", p.crowd, err)
	}
	if err := of.collect(ctx); err != nil {
		return err
	}
	ended := time.Since(began)
	r.at(key{of.title, end, 0, 0}).add(ended, 1, ended)
	return nil
}

// startOne starts a container and returns the time until its root was mounted.
func (s *server) startOne(ctx context.Context, name, top string) (root time.Duration, err error) {
	began := time.Now()
	made, err := s.snapshots.Prepare(ctx,
		&api.PrepareSnapshotRequest{Snapshotter: s.snapshotter, Key: name, Parent: top, Labels: kept})
	root = time.Since(began)
	if err != nil {
		return root, err
	}
	if _, err = s.containers.Create(ctx, &containers.CreateContainerRequest{Container: &containers.Container{
		ID: name, Snapshotter: s.snapshotter, SnapshotKey: name,
		Runtime: &containers.Container_Runtime{Name: "io.containerd.runc.v2"},
		Spec:    &anypb.Any{TypeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec", Value: spec(name)},
	}}); err != nil {
		return root, err
	}
	if _, err = s.tasks.Create(ctx, &tasks.CreateTaskRequest{ContainerID: name, Rootfs: made.GetMounts()}); err != nil {
		return root, err
	}
	_, err = s.tasks.Start(ctx, &tasks.StartRequest{ContainerID: name})
	return root, err
}

func (s *server) endOne(ctx context.Context, name string) error {
	if _, err := s.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: name, Signal: uint32(syscall.SIGKILL)}); err != nil {
		return err
	}
	if _, err := s.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: name}); err != nil {
		return err
	}
	if _, err := s.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: name}); err != nil {
		return err
	}
	if _, err := s.containers.Delete(ctx, &containers.DeleteContainerRequest{ID: name}); err != nil {
		return err
	}
	return s.remove(ctx, name)
}

// spec returns a container's specification as ctr writes it, without its limits.
func spec(name string) []byte {
	return fmt.Appendf(nil, `{
"ociVersion": "1.0.2",
"process": {"user": {"uid": 0, "gid": 0}, "args": ["/busybox", "sleep", "1000000"], "env": ["PATH=/"], "cwd": "/", "noNewPrivileges": true},
"root": {"path": "rootfs"},
"mounts": [
 {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
 {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
 {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
 {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
 {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
 {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}
],
"linux": {"cgroupsPath": "/%s/%s", "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network"}]}
}`, namespace, name)
}
