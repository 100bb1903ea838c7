//go:build systemd

package oncall

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// load is a fio that writes, and later reads what it has written.
type load struct {
	cmd         *exec.Cmd
	out, stderr bytes.Buffer
	ended       chan struct{}
	err         error
}

// startLoad makes fio write into a directory. A failed write, or a byte that reads
// otherwise, ends it with an error.
func startLoad(t *testing.T, dir string, flags ...string) *load {
	t.Helper()
	args := append([]string{"--name=load", "--directory=" + dir, "--ioengine=psync", "--direct=1", "--end_fsync=1",
		"--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--verify_state_save=0", "--output-format=json"}, flags...)
	l := &load{cmd: exec.Command("fio", args...), ended: make(chan struct{})}
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.stderr
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		l.err = l.cmd.Wait()
		close(l.ended)
	}()
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill()
		<-l.ended
		if t.Failed() {
			t.Logf("fio: %v\n%s%s", l.err, l.stderr.String(), l.out.String())
		}
	})
	return l
}

func (l *load) running() bool {
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

// finish waits for the end of the load and checks that all data were written and verified.
func (l *load) finish(t *testing.T, bytes int64, patience time.Duration) {
	t.Helper()
	await(t, "the end of the load", patience, func() bool { return !l.running() })
	type direction struct {
		Bytes int64 `json:"io_bytes"`
		Lat   struct {
			Max float64 `json:"max"`
		} `json:"clat_ns"`
	}
	var answer struct {
		Jobs []struct {
			Error       int
			Read, Write direction
			JobRuntime  int64 `json:"job_runtime"`
		}
	}
	text := l.out.String()
	if at := strings.Index(text, "{"); at >= 0 {
		text = text[at:] // fio prints notes before it
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Jobs) != 1 {
		t.Fatalf("output of fio: %v", err)
	}
	job := answer.Jobs[0]
	t.Logf("fio: %d MiB written, %d MiB read and verified, the slowest write took %.1f s", job.Write.Bytes>>20,
		job.Read.Bytes>>20, job.Write.Lat.Max/1e9)
	if l.err != nil || job.Error != 0 {
		t.Errorf("fio: got error %d: %v", job.Error, l.err)
	}
	if job.Write.Bytes != bytes || job.Read.Bytes != bytes {
		t.Errorf("%d bytes were written and %d verified, want %d", job.Write.Bytes, job.Read.Bytes, bytes)
	}
}
