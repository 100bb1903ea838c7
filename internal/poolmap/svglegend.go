package poolmap

import "fmt"

// listed is the number of volumes that the legend of an SVG lists one by one.
const listed = 40

// nameWidth is the right edge of the sizes after the swatch and the name.
const nameWidth = 250

func (d *drawing) planLegend(f figures) {
	bytes := nameWidth + 16 + int(digit*float64(len(grouped(uint64(d.size(d.Blocks))))))
	runs := bytes + 56 + max(56, 16+int(digit*float64(len(grouped(f.shared.runs+f.exclusive.runs)))))
	d.legendEnds = [4]int{nameWidth, bytes, bytes + 56, runs}
	d.legendSplit = max(1, (d.width-2*margin)/(runs+20))
	lines := len(d.Map.legend(f, listed))
	d.legendSplit = min(d.legendSplit, (lines+5)/6)
	d.legendHeight = ((lines-1)/d.legendSplit+2)*textPitch + (len(d.notes(f))+1)*textPitch
}

// notes returns the sentences between the map and the legend.
func (d *drawing) notes(f figures) []string {
	notes := []string{d.scaleText(d.grid)}
	if d.grid.per > 1 {
		notes = append(notes, "A cell with several owners is divided by their shares, each at least a sixteenth.")
	}
	return append(notes, d.remarks(f)...)
}

// legend writes the legend with exact figures.
func (d *drawing) legend(f figures) {
	y := d.legendTop
	for _, note := range d.notes(f) {
		d.text(margin, y, "", note)
		y += textPitch
	}
	y += textPitch
	entries := d.Map.legend(f, listed)
	rows := (len(entries)-1)/d.legendSplit + 1
	for i, e := range entries {
		x := margin + i/rows*((d.width-2*margin)/d.legendSplit)
		if i%rows == 0 {
			d.columns(x, y, "n", "size", "bytes", "share", "runs")
		}
		line := y + (i%rows+1)*textPitch
		side := 21 / len(e.paints)
		for j, p := range e.paints {
			fmt.Fprintf(d.out, `<rect class="p%d" x="%d" y="%d" width="%d" height="13"/>`+"\n", p, x+j*side, line-11, side)
		}
		d.text(x+28, line, "", fit(e.name, 22, "…"))
		size := d.size(e.blocks)
		d.columns(x, line, "", size.String(), grouped(uint64(size)), percent(e.blocks, d.Blocks), grouped(e.runs))
	}
}

// columns writes the figures of a line of the legend that begins at x.
func (d *drawing) columns(x, y int, class string, figures ...string) {
	for i, right := range d.legendEnds {
		d.text(x+right, y, class+" r", figures[i])
	}
}
