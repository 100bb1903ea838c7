package terminal

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	docker "github.com/docker/go-units"

	"thinctl/internal/cli/output"
)

// Layers tells how an image's layers come on. On a terminal each has a line
// that changes in place; elsewhere a line is written when a layer has ended.
type Layers struct {
	w      io.Writer
	live   bool
	silent bool

	mu    sync.Mutex
	lines []layer
	top   int // lines above this one have ended and stand as they are
	drawn int // lines below, as they are on the terminal now
	last  time.Time
}

type layer struct {
	name, text string
	ended      bool
}

const (
	// redrawAfter is how long a count may be old.
	redrawAfter = 100 * time.Millisecond
	// mostLines of those under way are shown: those further down wait for them.
	mostLines = 16
)

// NewLayers begins the lines of layers of those ids, base first.
func NewLayers(w io.Writer, live, silent bool, ids []string) *Layers {
	l := &Layers{w: w, live: live, silent: silent}
	for _, id := range ids {
		l.lines = append(l.lines, layer{name: output.ShortID(id)})
	}
	return l
}

// Count tells how far a layer has come; total is 0 where it is not known.
func (l *Layers) Count(layer int, doing string, done, total int64) {
	text := doing + " " + docker.HumanSize(float64(done))
	if total > 0 {
		text += "/" + docker.HumanSize(float64(total))
	}
	l.Set(layer, text, false)
}

// End gives a layer its last line.
func (l *Layers) End(layer int, text string) { l.Set(layer, text, true) }

func (l *Layers) Set(layer int, text string, ended bool) {
	if l.silent || layer < 0 || layer >= len(l.lines) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	line := &l.lines[layer]
	if line.ended || line.text == text && !ended {
		return
	}
	line.text, line.ended = text, ended
	switch {
	case !l.live && ended:
		fmt.Fprintf(l.w, "%s: %s\n", line.name, line.text)
	case l.live && (ended || time.Since(l.last) >= redrawAfter):
		l.draw()
	}
}

// draw writes anew all that may have changed.
func (l *Layers) draw() {
	l.last = time.Now()
	var b strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\033[%dA", l.drawn)
	}
	write := func(line layer) { fmt.Fprintf(&b, "\r\033[K%s: %s\n", line.name, line.text) }
	for ; l.top < len(l.lines) && l.lines[l.top].ended; l.top++ {
		write(l.lines[l.top])
	}
	l.drawn = 0
	for _, line := range l.lines[l.top:] {
		if line.text != "" && l.drawn < mostLines {
			write(line)
			l.drawn++
		}
	}
	b.WriteString("\033[J") // fewer lines than before
	io.WriteString(l.w, b.String())
}

// Close leaves the lines as they are now.
func (l *Layers) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live && !l.silent && l.drawn > 0 {
		l.draw()
	}
}
