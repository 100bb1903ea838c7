package program

import (
	"strings"
	"sync"
	"unicode"
)

const (
	keptBytes = 64 << 10
	keptLines = 200
	keptWidth = 500
)

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex // a program that outlives its context may still write
	buf []byte
	cut bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if n > keptBytes {
		p, t.cut = p[n-keptBytes:], true
	}
	if over := len(t.buf) + len(p) - keptBytes; over > 0 {
		t.buf, t.cut = append(t.buf[:0], t.buf[over:]...), true
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

func (t *tail) result(status int) Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Result{Status: status, Cut: t.cut}
	for line := range strings.FieldsFuncSeq(string(t.buf), func(c rune) bool { return c == '\n' || c == '\r' }) {
		if line = clean(line); line != "" {
			r.Lines = append(r.Lines, line)
		}
	}
	if over := len(r.Lines) - keptLines; over > 0 {
		r.Lines, r.Cut = r.Lines[over:], true
	}
	return r
}

// clean makes a line safe for a terminal and for a log.
func clean(line string) string {
	line = strings.Map(func(c rune) rune {
		switch {
		case c == '\t':
			return ' '
		case !unicode.IsPrint(c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(line, "?"))
	if runes := []rune(line); len(runes) > keptWidth {
		line = string(runes[:keptWidth]) + "..."
	}
	return strings.TrimSpace(line)
}
