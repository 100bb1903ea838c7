package main

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Sizes in pixels.
const (
	width     = 1000
	labels    = 180 // of the left panel, for the operations
	panel     = 345
	between   = 65 // space between panels, and right of the last, for the numbers at the bars
	top       = 104
	barHeight = 11
	groupGap  = 14
)

// shown are the operations of the picture. containerd's Remove alone removes nothing.
var shown = []string{prepare, view, commit, collected, mounts, usage}

// picture shows the time of an operation with one client, and the rate of many clients.
type picture struct {
	table
	peers         []string
	depth         int
	single, crowd int // clients
	out           *bufio.Writer
}

func draw(path string, t table) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(svg(file, t), file.Close())
}

// svg draws the middle one of the depths, for the fewest and the most clients.
func svg(w io.Writer, t table) error {
	depths, clients := t.depths(), t.clients()
	if len(depths) == 0 || len(clients) == 0 {
		return errors.New("there is nothing to draw")
	}
	p := picture{table: t, peers: t.peers(), depth: depths[len(depths)/2], single: clients[0],
		crowd: clients[len(clients)-1], out: bufio.NewWriter(w)}
	height := top + len(shown)*p.groupHeight() + 40
	title := fmt.Sprintf("containerd's snapshotters: chain of %d", p.depth)
	fmt.Fprintf(p.out, `<svg xmlns="http://www.w3.org/2000/svg" class="peers" role="img" `+
		`width="%d" height="%d" viewBox="0 0 %d %d">`+"\n", width, height, width, height)
	fmt.Fprintf(p.out, "<title>%s</title>\n%s", escape(title), style)
	fmt.Fprintf(p.out, `<rect class="page" width="%d" height="%d"/>`+"\n", width, height)
	p.text(24, 34, "h", title)
	p.legend()
	for n, operation := range shown {
		p.text(labels-10, p.y(n)+p.groupHeight()/2-groupGap/2+4, "r", operation)
	}
	p.bars(labels, fmt.Sprintf("p50 with %d client%s: shorter is better", p.single, plural(p.single)),
		func(peer, operation string) (float64, string) {
			c := p.table[key{peer, operation, p.depth, p.single}]
			return milliseconds(c.p50), brief(c.p50)
		}, func(v float64) string { return axis(v) })
	p.bars(labels+panel+between,
		fmt.Sprintf("operations per second with %d client%s: longer is better", p.crowd, plural(p.crowd)), func(peer,
			operation string) (float64, string) {
			c := p.table[key{peer, operation, p.depth, p.crowd}]
			return c.rate, digits(c.rate) + "/s"
		}, func(v float64) string { return fmt.Sprintf("%g/s", v) })
	fmt.Fprint(p.out, "</svg>\n")
	return p.out.Flush()
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// brief returns a duration in three digits.
func brief(d time.Duration) string {
	if d >= time.Second {
		return digits(d.Seconds()) + " s"
	}
	return digits(milliseconds(d)) + " ms"
}

// axis returns the milliseconds that are powers of ten.
func axis(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%g s", v/1000)
	}
	return fmt.Sprintf("%g ms", v)
}

func (p picture) groupHeight() int { return len(p.peers)*barHeight + groupGap }

func (p picture) y(group int) int { return top + group*p.groupHeight() }

// bars draws a panel on a scale of powers of ten.
func (p picture) bars(x int, title string, of func(peer, operation string) (value float64, label string),
	name func(float64) string) {
	least, most := math.Inf(1), 0.0
	for _, operation := range shown {
		for _, peer := range p.peers {
			if v, _ := of(peer, operation); v > 0 {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	p.text(x, top-14, "b", title)
	if most == 0 {
		return
	}
	low, high := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	if low == math.Log10(least) {
		low-- // or the shortest would have no bar
	}
	at := func(v float64) float64 { return float64(x) + panel*(math.Log10(v)-low)/max(high-low, 1) }
	bottom := top + len(shown)*p.groupHeight() - groupGap + 4
	for power := low; power <= high; power++ {
		v := math.Pow(10, power)
		fmt.Fprintf(p.out, `<path class="grid" d="M%.1f %dV%d"/>`, at(v), top-4, bottom)
		p.text(int(at(v)), bottom+18, "m", name(v))
	}
	for n, operation := range shown {
		for i, peer := range p.peers {
			v, label := of(peer, operation)
			if v <= 0 {
				continue
			}
			y := p.y(n) + i*barHeight
			fmt.Fprintf(p.out, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"><title>%s, %s: %s</title></rect>`,
				class(peer), x, y, at(v)-float64(x), barHeight-1, escape(peer), escape(operation), label)
			p.text(int(at(v))+4, y+barHeight-2, "s", label)
		}
	}
}

func class(peer string) string {
	return cmp.Or(map[string]string{floorName: "c0", udevName: "c5", directName: "c1", thinctlName: "c2",
		devmapper: "c3"}[peer], "c4")
}

func (p picture) legend() {
	x := labels
	for _, peer := range p.peers {
		fmt.Fprintf(p.out, `<rect class="%s" x="%d" y="52" width="12" height="12"/>`, class(peer), x)
		p.text(x+18, 63, "", peer)
		x += 18 + 8*len(peer) + 24
	}
}

func (p picture) text(x, y int, class, s string) {
	fmt.Fprintf(p.out, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", class, x, y, escape(s))
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder returns no error
	return b.String()
}

const style = `<style>
.peers text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;font-variant-numeric:tabular-nums;fill:#1f2328}
.peers .h{font-size:20px;font-weight:600}.peers .b{font-weight:600}.peers .r{text-anchor:end}.peers .m{text-anchor:middle;font-size:11px}.peers .s{font-size:9.5px}
.peers .page{fill:#fff}.peers .grid{stroke:#d1d9e0;stroke-width:1;fill:none}
.peers .c0{fill:#8c959f}.peers .c1{fill:#80ccff}.peers .c2{fill:#0969da}.peers .c3{fill:#bc4c00}.peers .c4{fill:#8250df}.peers .c5{fill:#c8d1da}
@media (prefers-color-scheme:dark){
.peers text{fill:#e6edf3}.peers .page{fill:#0d1117}.peers .grid{stroke:#3d444d}
.peers .c0{fill:#9198a1}.peers .c1{fill:#a5d6ff}.peers .c2{fill:#4493f8}.peers .c3{fill:#f0883e}.peers .c4{fill:#b083f0}.peers .c5{fill:#656c76}
}
</style>
`
