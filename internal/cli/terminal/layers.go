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

// Layers shows the progress of the layers of an image. On a terminal each layer has a line that
// changes in place; elsewhere a line is written when a layer is done.
type Layers struct {
	w      io.Writer
	live   bool
	silent bool

	mu    sync.Mutex
	lines []layer
	top   int // the lines above it are final
	drawn int // the number of lines below it on the screen
	last  time.Time
}

type layer struct {
	name, text string
	ended      bool
}

const (
	// redrawAfter is the maximum age of a count on the screen.
	redrawAfter = 100 * time.Millisecond
	// mostLines limits the unfinished lines on the screen; further lines follow when these are
	// done.
	mostLines = 16
)

// NewLayers returns the lines for layers with these ids, base first.
func NewLayers(w io.Writer, live, silent bool, ids []string) *Layers {
	l := &Layers{w: w, live: live, silent: silent}
	for _, id := range ids {
		l.lines = append(l.lines, layer{name: output.ShortID(id)})
	}
	return l
}

// Count sets the progress of a layer; total is 0 if it is unknown.
func (l *Layers) Count(layer int, doing string, done, total int64) {
	text := doing + " " + docker.HumanSize(float64(done))
	if total > 0 {
		text += "/" + docker.HumanSize(float64(total))
	}
	l.Set(layer, text, false)
}

// End writes the last line of a layer.
func (l *Layers) End(layer int, text string) { l.Set(layer, text, true) }

// Set sets the text of a layer; done means that it is the last one.
func (l *Layers) Set(layer int, text string, done bool) {
	if l.silent || layer < 0 || layer >= len(l.lines) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	line := &l.lines[layer]
	if line.ended || line.text == text && !done {
		return
	}
	line.text, line.ended = text, done
	switch {
	case !l.live && done:
		fmt.Fprintf(l.w, "%s: %s\n", line.name, line.text)
	case l.live && (done || time.Since(l.last) >= redrawAfter):
		l.draw()
	}
}

// draw writes all lines that may have changed.
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
	fmt.Fprint(l.w, b.String())
}

// Close draws the lines a last time.
func (l *Layers) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live && !l.silent && l.drawn > 0 {
		l.draw()
	}
}
