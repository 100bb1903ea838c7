package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cell holds the printed figures of a peer's operation.
type cell struct {
	p50, p99 time.Duration
	rate     float64 // per second
}

const cellFormat = "%g ms, p99 %g ms, %g/s"

func (c cell) String() string {
	return fmt.Sprintf("%s ms, p99 %s ms, %s/s", digits(milliseconds(c.p50)), digits(milliseconds(c.p99)), digits(c.rate))
}

// digits returns the first three digits of a number, and all before its point.
func digits(v float64) string {
	behind := 2
	if v > 0 {
		behind = min(max(2-int(math.Floor(math.Log10(v))), 0), 3)
	}
	return strconv.FormatFloat(v, 'f', behind, 64)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// parseCell parses what String has written.
func parseCell(text string) (cell, bool) {
	var p50, p99, rate float64
	if n, err := fmt.Sscanf(text, cellFormat, &p50, &p99, &rate); n != 3 || err != nil {
		return cell{}, false
	}
	return cell{time.Duration(p50 * float64(time.Millisecond)), time.Duration(p99 * float64(time.Millisecond)), rate}, true
}

type table map[key]cell

// peers returns the peers in the order of everyone.
func (t table) peers() []string {
	return slices.DeleteFunc([]string{floorName, udevName, directName, thinctlName, devmapper, overlayfs},
		func(name string) bool {
			for k := range t {
				if k.peer == name {
					return false
				}
			}
			return true
		})
}

func (t table) numbers(of func(key) int) []int {
	all := map[int]bool{}
	for k := range t {
		if of(k) > 0 {
			all[of(k)] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (t table) depths() []int  { return t.numbers(func(k key) int { return k.depth }) }
func (t table) clients() []int { return t.numbers(func(k key) int { return k.clients }) }

// ratios are printed at the end of the operations' tables.
var ratios = []struct {
	title string
	of    func(cellOf func(peer string) cell) (over, under float64)
}{
	{"time, direct / floor", func(of func(string) cell) (float64, float64) {
		return of(directName).p50.Seconds(), of(floorName).p50.Seconds()
	}},
	{"time, direct / floor with udev", func(of func(string) cell) (float64, float64) {
		return of(directName).p50.Seconds(), of(udevName).p50.Seconds()
	}},
	{"time, devmapper / thinctl", func(of func(string) cell) (float64, float64) {
		return of(devmapper).p50.Seconds(), of(thinctlName).p50.Seconds()
	}},
	{"rate, thinctl / devmapper", func(of func(string) cell) (float64, float64) {
		return of(thinctlName).rate,
			of(devmapper).rate
	}},
	{"time, overlayfs / thinctl", func(of func(string) cell) (float64, float64) {
		return of(overlayfs).p50.Seconds(), of(thinctlName).p50.Seconds()
	}},
}

// write prints Markdown that read parses.
func (t table) write(w io.Writer, crowd int) {
	peers := t.peers()
	for _, operation := range append(operations, collected) {
		fmt.Fprintf(w, "\n#### %s\n\n| depth | clients | %s |", operation, strings.Join(peers, " | "))
		for _, r := range ratios {
			fmt.Fprintf(w, " %s |", r.title)
		}
		fmt.Fprintf(w, "\n|---:|---:|%s\n", strings.Repeat("---:|", len(peers)+len(ratios)))
		for _, depth := range t.depths() {
			for _, many := range t.clients() {
				of := func(peer string) cell { return t[key{peer, operation, depth, many}] }
				fmt.Fprintf(w, "| %d | %d |", depth, many)
				for _, peer := range peers {
					if c := of(peer); c != (cell{}) {
						fmt.Fprintf(w, " %s |", c)
					} else {
						fmt.Fprint(w, " – |")
					}
				}
				for _, r := range ratios {
					fmt.Fprintf(w, " %s |", ratio(r.of(of)))
				}
				fmt.Fprintln(w)
			}
		}
	}
	t.flat(w, peers)
	t.lives(w, crowd)
}

// flat prints how the medians of one client grow with the chain.
func (t table) flat(w io.Writer, peers []string) {
	depths, clients := t.depths(), t.clients()
	if len(depths) < 2 {
		return
	}
	low, high := depths[0], depths[len(depths)-1]
	fmt.Fprintf(w, "\n#### From depth %d to %d\n\n| | %s |\n|---|%s\n", low, high, strings.Join(peers, " | "),
		strings.Repeat("---:|", len(peers)))
	for _, operation := range append(operations, collected) {
		fmt.Fprintf(w, "| %s |", operation)
		for _, peer := range peers {
			at := func(depth int) float64 { return t[key{peer, operation, depth, clients[0]}].p50.Seconds() }
			fmt.Fprintf(w, " %s |", ratio(at(high), at(low)))
		}
		fmt.Fprintln(w)
	}
}

// lives prints the operations on an image and its containers.
func (t table) lives(w io.Writer, crowd int) {
	var peers []string
	for _, peer := range []string{thinctlName, devmapper, overlayfs} {
		if _, ok := t[key{peer, unpack, 0, 0}]; ok {
			peers = append(peers, peer)
		}
	}
	if len(peers) == 0 {
		return
	}
	devmapperTime := ratios[2]
	fmt.Fprintf(w, "\n#### An image and %d containers of it\n\n| | %s | %s |\n|---|%s\n", crowd,
		strings.Join(peers, " | "), devmapperTime.title, strings.Repeat("---:|", len(peers)+1))
	for _, operation := range livesOf {
		of := func(peer string) cell { return t[key{peer, operation, 0, 0}] }
		if crowd == 0 && operation != unpack && operation != unpackApply {
			continue
		}
		fmt.Fprintf(w, "| %s |", operation)
		for _, peer := range peers {
			fmt.Fprintf(w, " %s |", brief(of(peer).p50))
		}
		fmt.Fprintf(w, " %s |\n", ratio(devmapperTime.of(of)))
	}
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f x", a/b)
}

// conditions returns what a reader needs to judge the figures.
func conditions(w io.Writer, p plan) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		release = []byte(err.Error())
	}
	fmt.Fprintf(w, "Kernel %s; at most %d rounds of all clients, and %s for each turn; p50, p99, and the rate of all "+
		"clients together.\n",
		strings.TrimSpace(string(release)), p.rounds, p.turn)
}

// read parses the tables that write has printed into a text.
func read(from io.Reader) (table, error) {
	t := table{}
	lines := bufio.NewScanner(from)
	title, columns := "", []string(nil)
	for lines.Scan() {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "#### "); ok {
			title, columns = name, nil
			continue
		}
		cells := strings.Split(line, "|")
		if len(cells) < 3 || !ours(title) {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if columns == nil {
			columns = cells
			continue
		}
		t.take(title, columns, cells)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(t) == 0 {
		return nil, fmt.Errorf("the text has no tables of this benchmark")
	}
	return t, nil
}

func ours(title string) bool {
	return title == collected || slices.Contains(operations, title)
}

// take parses a row, whose first cells are the depth and the clients.
func (t table) take(title string, columns, cells []string) {
	k := key{operation: title}
	if _, err := fmt.Sscan(cells[1]+" "+cells[2], &k.depth, &k.clients); err != nil {
		return // the line below the header
	}
	for i := range min(len(columns), len(cells)) {
		if c, ok := parseCell(cells[i]); ok {
			k.peer = columns[i]
			t[k] = c
		}
	}
}
