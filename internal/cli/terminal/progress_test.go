package terminal

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"thinctl/thinpool/metadata"
)

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestProgress(t *testing.T) {
	var errs syncBuffer
	p := Progress{Out: &errs, Enabled: true}
	p.Start("quick")()
	if errs.String() != "" {
		t.Errorf("quick work: got %q, want nothing", errs.String())
	}
	done := p.Start("slow %s", "work")
	time.Sleep(progressAfter + 300*time.Millisecond)
	done()
	done()
	if got := errs.String(); !strings.HasPrefix(got, "\rslow work ... ") || !strings.HasSuffix(got, "\r\033[K") {
		t.Errorf("slow work: got %q, want one line that is removed", got)
	}
	silent := Progress{Out: &errs}
	before := errs.String()
	done = silent.Start("unseen")
	time.Sleep(progressAfter + 100*time.Millisecond)
	done()
	if errs.String() != before {
		t.Error("got progress without a terminal, want none")
	}
}

func TestReading(t *testing.T) {
	var errs syncBuffer
	p := Progress{Out: &errs, Enabled: true}
	read, done := p.Reading("checking %s", "it")
	read(metadata.Progress{Read: 7, Known: 9})
	time.Sleep(progressAfter + 100*time.Millisecond)
	done()
	if got := errs.String(); !strings.HasPrefix(got, "\rchecking it ... ") || !strings.Contains(got, "s, 7 of 9 blocks") {
		t.Errorf("a slow check: got %q, want the time and 7 of 9 blocks", got)
	}
}
