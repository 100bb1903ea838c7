//go:build systemd

package roundtrip

import (
	"os"
	"strings"
	"testing"

	"thinctl/tests/programs"
)

const dockerfile = `FROM scratch
LABEL made.by="docker build"
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ENV GREETING="hello, world" PATH=/bin
RUN mkdir -p /srv/a/b && echo one > /srv/a/b/one && ln /srv/a/b/one /srv/a/two && ln -s a/two /srv/three
RUN rm -r /srv/a && mkdir -p /srv/a && echo again > /srv/a/new && chmod 4755 /srv/a/new && mkfifo /srv/pipe && touch -d '2001-02-03 04:05:06' /srv/pipe
VOLUME /data
EXPOSE 80
USER 1000:1000
WORKDIR /srv
CMD ["/bin/sh", "-c", "echo $GREETING; cat /srv/a/new; ls /srv"]
`

// said is the output of a container of the image.
const said = "hello, world\nagain\na\npipe\nthree"

// buildWithDocker builds an image of many steps and returns its id.
func buildWithDocker(t *testing.T, docker *programs.Docker, name string) string {
	t.Helper()
	dir := t.TempDir()
	busybox, err := os.ReadFile("/bin/busybox")
	check(t, err)
	check(t, os.WriteFile(dir+"/busybox", busybox, 0o755))
	check(t, os.WriteFile(dir+"/Dockerfile", []byte(dockerfile), 0o644))
	t.Setenv("DOCKER_BUILDKIT", "0")
	must[string](t)(docker.Do(t.Context(), "build", "-q", "--network", "none", "-t", name, dir))
	return must[string](t)(docker.ID(t.Context(), name))
}

func runs(t *testing.T, docker *programs.Docker, name string) {
	t.Helper()
	out := must[string](t)(docker.Do(t.Context(), "run", "--rm", "--network", "none", name))
	if strings.TrimSpace(out) != said {
		t.Errorf("output of a container of %s: got %q, want %q", name, out, said)
	}
}

func TestPeersBuild(t *testing.T) {
	docker := theDocker(t)
	const name = "peers/built:1"
	id := buildWithDocker(t, docker, name)
	runs(t, docker, name)
	archive := t.TempDir() + "/built.tar"
	check(t, docker.Save(t.Context(), archive, name))
	check(t, thePodman().Load(t.Context(), archive))
	if seen := must[string](t)(thePodman().ID(t.Context(), id)); seen != id {
		t.Errorf("ids: docker has %s, podman %s, want the same", id, seen)
	}
}
