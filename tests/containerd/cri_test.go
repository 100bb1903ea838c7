//go:build systemd

package containerd

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"thinctl/tests/programs"
)

// kubelet sends containerd the requests that the kubelet sends.
type kubelet struct {
	images runtime.ImageServiceClient
}

func newKubelet(t *testing.T, c *programs.Containerd) kubelet {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+c.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	return kubelet{runtime.NewImageServiceClient(conn)}
}

// pull pulls an image for the pods of a runtime; "" is the default runtime.
func (k kubelet) pull(t *testing.T, image, handler string) {
	t.Helper()
	request := &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: image, RuntimeHandler: handler}}
	if handler != "" {
		// containerd before 2.2 reads the handler from here.
		request.SandboxConfig = &runtime.PodSandboxConfig{Metadata: &runtime.PodSandboxMetadata{Name: "pod",
			Namespace: "default", Uid: "1"},
			Annotations: map[string]string{"io.containerd.cri.runtime-handler": handler}}
	}
	if _, err := k.images.PullImage(t.Context(), request); err != nil {
		t.Fatalf("CRI pulls %s for runtime %q: %v", image, handler, err)
	}
}

// imageFS returns the directory whose free space the kubelet takes for that of the images:
// the first that is reported.
func (k kubelet) imageFS(t *testing.T) string {
	t.Helper()
	answer, err := k.images.ImageFsInfo(t.Context(), &runtime.ImageFsInfoRequest{})
	check(t, err)
	if len(answer.ImageFilesystems) == 0 {
		t.Fatal("CRI reports no image file system")
	}
	return answer.ImageFilesystems[0].FsId.Mountpoint
}

// expectPool compares the free space that the kubelet's cadvisor reads for a directory,
// which is statfs(2) of its mount, with `thinctl pool status`.
func expectPool(t *testing.T, directory string, pool programs.Thinctl) {
	t.Helper()
	const slack = 64 << 10 // a cluster
	until(t, "pool's figures at "+directory, 2*time.Minute, func() error {
		space, err := pool.Space(t.Context())
		if err != nil {
			return err
		}
		var st unix.Statfs_t
		if err := unix.Statfs(directory, &st); err != nil {
			return err
		}
		total, available := int64(st.Blocks)*st.Frsize, int64(st.Bavail)*st.Frsize
		want := space.Data.Total - space.Data.Used
		// The file system's own structures count only while the pool is empty.
		most := int64(st.Bfree) * st.Frsize
		if total != space.Data.Total || available > want || available < min(want, most)-slack {
			return fmt.Errorf("%d of %d bytes are available, want %d of %d", available, total, want, space.Data.Total)
		}
		var parent unix.Stat_t
		var own unix.Stat_t
		if err := errors.Join(unix.Stat(directory, &own), unix.Stat(directory+"/..", &parent)); err != nil {
			return err
		}
		if own.Dev == parent.Dev {
			return errors.New("it is not a file system of its own")
		}
		return nil
	})
}
