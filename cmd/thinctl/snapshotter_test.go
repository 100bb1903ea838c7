package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"thinctl/snapshots/snapshotstest"
)

// TestSnapshotter: it says when it is ready, serves, refuses a second one on its
// socket, and a signal is how it ends.
func TestSnapshotter(t *testing.T) {
	world := snapshotstest.New(t)
	world.Space = plentyOfSpace
	host := &fakeHost{kernel: world.Kernel, loops: world.Loops, world: world}
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket, ready := filepath.Join(dir, "run", "s.sock"), filepath.Join(dir, "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: ready, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	var said syncBuffer
	program := func(out *syncBuffer) *app {
		return &app{in: strings.NewReader(""), out: out, err: out, euid: func() int { return 0 }, host: host.open, files: worldFiles{world.Files}, probe: localProbe(),
			getenv: func(name string) string { return map[string]string{"NOTIFY_SOCKET": ready}[name] }}
	}
	do := func(ctx context.Context, out *syncBuffer, line string) int {
		return program(out).run(ctx, append([]string{"--root=" + world.Root}, strings.Fields(line)...))
	}
	if code := do(t.Context(), &said, "pool create vault --data-size 64M --metadata-size 4M --base-size 16M"); code != 0 {
		t.Fatal(said.b.String())
	}
	ctx, interrupt := context.WithCancelCause(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- do(ctx, &said, "snapshotter vault --namespace k8s --socket "+socket) }()
	systemd.SetReadDeadline(time.Now().Add(20 * time.Second))
	told := make([]byte, 64)
	n, err := systemd.Read(told)
	if err != nil || string(told[:n]) != "READY=1" {
		t.Fatalf("systemd was told %q, %v: %s", told[:n], err, said.b.String())
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := api.NewSnapshotsClient(conn).Prepare(t.Context(), &api.PrepareSnapshotRequest{Key: "one"}); err != nil {
		t.Error(err)
	}
	var second syncBuffer
	if code := do(t.Context(), &second, "snapshotter vault --socket "+socket); code != codeBusy || !bytes.Contains(second.b.Bytes(), []byte("another process serves it")) {
		t.Errorf("a second one: exit code %d, %s", code, second.b.String())
	}
	var list syncBuffer
	if code := do(t.Context(), &list, "pool usage vault"); code != 0 || !bytes.Contains(list.b.Bytes(), []byte("containerd-")) {
		t.Errorf("pool usage: %d, %s", code, list.b.String())
	}
	interrupt(errInterrupted)
	if code := <-ended; code != codeDone {
		t.Errorf("exit code %d: %s", code, said.b.String())
	}
	for line, want := range map[string]int{"snapshotter nobody --socket " + socket: codeNotFound, "snapshotter vault --namespace a/b --socket " + socket: codeUsage,
		"snapshotter vault --filesystem btrfs --socket " + socket: codeUsage} {
		var out syncBuffer
		if code := do(t.Context(), &out, line); code != want {
			t.Errorf("%s: exit code %d, want %d: %s", line, code, want, out.b.String())
		}
	}
}
