package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/poolmap"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

func (a *app) poolMap() *cli.Command {
	return a.leaf(leaf{
		name: "map", args: "POOL", usage: "draw whose each block of a pool's data is",
		about: "Draws in the terminal, in colors where there are some, or with --svg into a file. " +
			"With --range: a list of all volumes that have blocks in that part of the data device.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "svg", Usage: "draw into this `FILE`, which must not exist"},
			&cli.BoolFlag{Name: "force", Usage: "overwrite the file of --svg"},
			&cli.IntFlag{Name: "width", Usage: "`COLUMNS` of the drawing, at least 60; of --svg pixels, 720 to 4096"},
			&cli.StringFlag{Name: "range", Usage: "list the owners of this part of the data device: `FROM-TO`, such as 1G-2G"},
		},
		run: (*call).mapPool, complete: (*call).poolNames,
	})
}

func (c *call) mapPool() error {
	svg, part := c.flags.String("svg"), c.flags.String("range")
	if err := c.fitsMap(svg, part); err != nil {
		return err
	}
	if part != "" {
		from, to, err := parseRange(part)
		if err != nil {
			return err
		}
		return c.onPool(c.arg(0), func(pool *thinpool.Pool) error { return c.listOwners(pool, from, to) })
	}
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		if svg != "" {
			return c.drawSVG(pool, svg)
		}
		if c.flags.Bool("json") {
			return c.listSpans(pool)
		}
		drawn, err := c.draw(pool, func(w io.Writer, m poolmap.Map) error {
			return poolmap.Terminal(w, m, poolmap.TerminalOptions{Width: c.mapWidth(), Color: c.mapColor()})
		})
		if err == nil {
			_, err = c.out.Write(drawn)
		}
		return err
	})
}

func (c *call) fitsMap(svg, part string) error {
	width := c.flags.Int("width")
	switch {
	case svg != "" && part != "":
		return c.misuse("--svg and --range do not go together")
	case c.flags.Bool("force") && svg == "":
		return c.misuse("--force is for --svg")
	case !c.flags.IsSet("width"):
	case part != "" || c.flags.Bool("json") && svg == "":
		return c.misuse("--width is for drawings")
	case svg != "" && (width < 720 || width > 4096):
		return c.misuse("an SVG can be 720 to 4096 pixels wide, not %d", width)
	case svg == "" && width < 60:
		return c.misuse("a drawing takes at least 60 columns, not %d", width)
	}
	return nil
}

func parseRange(text string) (from, to units.Bytes, err error) {
	first, second, ok := strings.Cut(text, "-")
	if ok {
		if from, err = units.Parse(first); err == nil {
			to, err = units.Parse(second)
		}
	}
	if !ok || err != nil || from >= to {
		return 0, 0, &usageError{why: fmt.Sprintf("range %q is no part of a device", text), remedy: "give FROM-TO, such as 0-64M or 1G-2G"}
	}
	return from, to, nil
}

func (c *call) mapWidth() int {
	if width := c.flags.Int("width"); width != 0 {
		return width
	}
	if c.columns < 60 {
		return 0
	}
	return c.columns
}

// mapColor is what the terminal can show, as it says itself.
func (c *call) mapColor() poolmap.Color {
	switch kind := c.getenv("COLORTERM"); {
	case !c.colored() || c.getenv("TERM") == "dumb":
		return poolmap.NoColor
	case kind == "truecolor" || kind == "24bit":
		return poolmap.TrueColor
	}
	return poolmap.Color256
}

// draw draws into memory: only once the reading has ended is it known to hold.
func (c *call) draw(pool *thinpool.Pool, how func(io.Writer, poolmap.Map) error) ([]byte, error) {
	var b bytes.Buffer
	done := c.progress("reading the metadata of pool %s", pool.Name())
	defer done()
	err := pool.DataMap(c.ctx, func(m thinpool.DataMap) error {
		b.Reset()
		return how(&b, drawable(m))
	})
	return b.Bytes(), err
}

// drawable returns the map as poolmap draws it.
func drawable(data thinpool.DataMap) poolmap.Map {
	drawn := poolmap.Map{BlockSize: data.Block, Blocks: data.Blocks}
	for _, thin := range data.Thins {
		drawn.Owners = append(drawn.Owners, thin.String())
	}
	kinds := [...]poolmap.Kind{metadata.Free: poolmap.Free, metadata.Exclusive: poolmap.Exclusive, metadata.Shared: poolmap.Shared}
	drawn.Spans = func(visit func(poolmap.Span) error) error {
		return data.Spans(func(s thinpool.DataSpan) error {
			return visit(poolmap.Span{Begin: s.Begin, Blocks: s.Blocks, Kind: kinds[s.Kind], Owner: s.Thin})
		})
	}
	return drawn
}

func (c *call) drawSVG(pool *thinpool.Pool, path string) (err error) {
	force := c.flags.Bool("force")
	file, err := createFile(path, force)
	if errors.Is(err, thinpool.ErrExists) && !force {
		return fmt.Errorf("%w, or --force to overwrite it", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	drawn, err := c.draw(pool, func(w io.Writer, m poolmap.Map) error {
		return poolmap.SVG(w, m, poolmap.SVGOptions{Title: "Pool " + pool.Name(), Width: c.flags.Int("width")})
	})
	if err != nil {
		return err
	}
	if _, err := file.Write(drawn); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := file.commit(); err != nil {
		return err
	}
	return c.show(struct {
		envelope
		Pool  string `json:"pool"`
		File  string `json:"file"`
		Bytes int    `json:"bytes"`
	}{schema(), pool.Name(), path, len(drawn)}, func(w io.Writer) {
		fmt.Fprintf(w, "pool %s is drawn in %s\n", pool.Name(), path)
	})
}

type spanView struct {
	Begin  units.Bytes `json:"begin_bytes"`
	Length units.Bytes `json:"length_bytes"`
	Kind   string      `json:"kind"`
	Volume string      `json:"volume,omitempty"`
}

// listSpans is the map as JSON.
func (c *call) listSpans(pool *thinpool.Pool) error {
	head := struct {
		envelope
		Pool  string      `json:"pool"`
		Block units.Bytes `json:"block_bytes"`
		Total units.Bytes `json:"total_bytes"`
	}{envelope: schema(), Pool: pool.Name()}
	var spans []spanView
	err := pool.DataMap(c.ctx, func(m thinpool.DataMap) error {
		head.Block, head.Total, spans = m.Block, units.Bytes(m.Blocks)*m.Block, nil
		return m.Spans(func(s thinpool.DataSpan) error {
			view := spanView{Begin: units.Bytes(s.Begin) * m.Block, Length: units.Bytes(s.Blocks) * m.Block, Kind: s.Kind.String()}
			if s.Kind == metadata.Exclusive {
				view.Volume = m.Thins[s.Thin].String()
			}
			spans = append(spans, view)
			return nil
		})
	})
	if err != nil {
		return err
	}
	return c.list(head, "spans", nil, func(add func(any, ...any) error) (tail, error) {
		sum := count{what: "span"}
		for _, s := range spans {
			sum.Count++
			if err := add(s); err != nil {
				return nil, err
			}
		}
		return sum, nil
	})
}

// count ends a list with how long it is.
type count struct {
	Count int `json:"count"`
	what  string
}

func (n count) write(w io.Writer) { fmt.Fprintf(w, "\n%s\n", plural(n.Count, n.what)) }

type ownerView struct {
	Data   units.Bytes `json:"data_bytes"`
	Length units.Bytes `json:"length_bytes"`
	thinView
	Virtual units.Bytes `json:"virtual_bytes"`
}

func (c *call) listOwners(pool *thinpool.Pool, from, to units.Bytes) error {
	done := c.progress("reading the metadata of pool %s", pool.Name())
	owners, err := pool.Owners(c.ctx, from, to)
	done()
	if err != nil {
		return err
	}
	head := struct {
		envelope
		Pool string      `json:"pool"`
		From units.Bytes `json:"from_bytes"`
		To   units.Bytes `json:"to_bytes"`
	}{schema(), pool.Name(), from, to}
	return c.list(head, "owners", []any{"DATA", "LENGTH", "VIRTUAL", "VOLUME"}, func(add func(any, ...any) error) (tail, error) {
		for _, o := range owners {
			if err := add(ownerView{o.Data, o.Length, newThinView(o.Thin), o.Virtual}, o.Data.Exact(), o.Length.Exact(), o.Virtual.Exact(), o.Thin); err != nil {
				return nil, err
			}
		}
		return count{len(owners), "run"}, nil
	})
}
