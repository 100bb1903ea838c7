package pool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/internal/newfile"
	"thinctl/internal/poolmap"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

func mapCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "map", Args: "POOL", Usage: "draw which volume owns each data block of a pool",
		About: "Draws in the terminal, or with --svg to a file. " +
			"With --range it lists the volumes that have blocks in that part of the data device.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "svg", Usage: "draw to this new `FILE`"},
			&cli.BoolFlag{Name: "force", Usage: "overwrite the file of --svg"},
			&cli.IntFlag{Name: "width", Usage: "width in `COLUMNS`, at least 60; with --svg in pixels, 720 to 4096"},
			&cli.StringFlag{Name: "range", Usage: "list the owners of this part of the data device: `FROM-TO`, such as 1G-2G"},
		},
		Run: mapPool, Complete: (*command.Call).PoolNames,
	})
}

func mapPool(c *command.Call) error {
	svg, part := c.Flags.String("svg"), c.Flags.String("range")
	if err := fitsMap(c, svg, part); err != nil {
		return err
	}
	if part != "" {
		from, to, err := parseRange(part)
		if err != nil {
			return err
		}
		return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error { return listOwners(c, pool, from, to) })
	}
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		if svg != "" {
			return drawSVG(c, pool, svg)
		}
		if c.Flags.Bool("json") {
			return listSpans(c, pool)
		}
		drawn, err := draw(c, pool, func(w io.Writer, m poolmap.Map) error {
			return poolmap.Terminal(w, m, poolmap.TerminalOptions{Width: mapWidth(c), Color: mapColor(c)})
		})
		if err == nil {
			_, err = c.Out.Write(drawn)
		}
		return err
	})
}

func fitsMap(c *command.Call, svg, part string) error {
	width := c.Flags.Int("width")
	switch {
	case svg != "" && part != "":
		return c.Misuse("--svg and --range cannot be combined")
	case c.Flags.Bool("force") && svg == "":
		return c.Misuse("--force needs --svg")
	case !c.Flags.IsSet("width"):
	case part != "" || c.Flags.Bool("json") && svg == "":
		return c.Misuse("--width works only on drawings")
	case svg != "" && (width < 720 || width > 4096):
		return c.Misuse("--width %d: an SVG is 720 to 4096 pixels wide", width)
	case svg == "" && width < 60:
		return c.Misuse("--width %d: a drawing needs at least 60 columns", width)
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
		return 0, 0, &exit.UsageError{Why: fmt.Sprintf("range %q is invalid", text),
			Remedy: "use FROM-TO, such as 0-64M or 1G-2G"}
	}
	return from, to, nil
}

func mapWidth(c *command.Call) int {
	if width := c.Flags.Int("width"); width != 0 {
		return width
	}
	if c.Columns < 60 {
		return 0
	}
	return c.Columns
}

// mapColor returns the colors that the terminal supports, from its environment variables.
func mapColor(c *command.Call) poolmap.Color {
	switch kind := c.Getenv("COLORTERM"); {
	case !c.Colored() || c.Getenv("TERM") == "dumb":
		return poolmap.NoColor
	case kind == "truecolor" || kind == "24bit":
		return poolmap.TrueColor
	}
	return poolmap.Color256
}

// draw draws to memory. The result is valid only when the reading has ended.
func draw(c *command.Call, pool *thinpool.Pool, render func(io.Writer, poolmap.Map) error) ([]byte, error) {
	var b bytes.Buffer
	done := c.Progress("reading the metadata of pool %s", pool.Name())
	defer done()
	err := pool.DataMap(c.Ctx, func(m thinpool.DataMap) error {
		b.Reset()
		return render(&b, toMap(m))
	})
	return b.Bytes(), err
}

// toMap converts a map to the form that poolmap draws.
func toMap(data thinpool.DataMap) poolmap.Map {
	drawn := poolmap.Map{BlockSize: data.Block, Blocks: data.Blocks}
	for _, thin := range data.Thins {
		drawn.Owners = append(drawn.Owners, thin.String())
	}
	kinds := [...]poolmap.Kind{metadata.Free: poolmap.Free, metadata.Exclusive: poolmap.Exclusive,
		metadata.Shared: poolmap.Shared}
	drawn.Spans = func(visit func(poolmap.Span) error) error {
		return data.Spans(func(s thinpool.DataSpan) error {
			return visit(poolmap.Span{Begin: s.Begin, Blocks: s.Blocks, Kind: kinds[s.Kind], Owner: s.Thin})
		})
	}
	return drawn
}

func drawSVG(c *command.Call, pool *thinpool.Pool, path string) (err error) {
	force := c.Flags.Bool("force")
	file, err := newfile.Create(path, force)
	if errors.Is(err, fault.Exists) && !force {
		return fmt.Errorf("%w, or use --force to overwrite it", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	drawn, err := draw(c, pool, func(w io.Writer, m poolmap.Map) error {
		return poolmap.SVG(w, m, poolmap.SVGOptions{Title: "Pool " + pool.Name(), Width: c.Flags.Int("width")})
	})
	if err != nil {
		return err
	}
	if _, err := file.Write(drawn); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := file.Commit(); err != nil {
		return err
	}
	return c.Show(struct {
		output.Envelope
		Pool  string `json:"pool"`
		File  string `json:"file"`
		Bytes int    `json:"bytes"`
	}{output.Schema(), pool.Name(), path, len(drawn)}, func(w io.Writer) {
		fmt.Fprintf(w, "map of pool %s written to %s\n", pool.Name(), path)
	})
}

type spanView struct {
	Begin  units.Bytes `json:"begin_bytes"`
	Length units.Bytes `json:"length_bytes"`
	Kind   string      `json:"kind"`
	Volume string      `json:"volume,omitempty"`
}

// listSpans prints the map as JSON.
func listSpans(c *command.Call, pool *thinpool.Pool) error {
	head := struct {
		output.Envelope
		Pool  string      `json:"pool"`
		Block units.Bytes `json:"block_bytes"`
		Total units.Bytes `json:"total_bytes"`
	}{Envelope: output.Schema(), Pool: pool.Name()}
	var spans []spanView
	err := pool.DataMap(c.Ctx, func(m thinpool.DataMap) error {
		head.Block, head.Total, spans = m.Block, units.Bytes(m.Blocks)*m.Block, nil
		return m.Spans(func(s thinpool.DataSpan) error {
			view := spanView{Begin: units.Bytes(s.Begin) * m.Block, Length: units.Bytes(s.Blocks) * m.Block,
				Kind: s.Kind.String()}
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
	return c.List(head, "spans", nil, func(add func(any, ...any) error) (output.Tail, error) {
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

// count is the tail of a listing: the number of its items.
type count struct {
	Count int `json:"count"`
	what  string
}

func (n count) Write(w io.Writer) { fmt.Fprintf(w, "\n%s\n", output.Plural(n.Count, n.what)) }

type ownerView struct {
	Data   units.Bytes `json:"data_bytes"`
	Length units.Bytes `json:"length_bytes"`
	thinView
	Virtual units.Bytes `json:"virtual_bytes"`
}

func listOwners(c *command.Call, pool *thinpool.Pool, from, to units.Bytes) error {
	done := c.Progress("reading the metadata of pool %s", pool.Name())
	owners, err := pool.Owners(c.Ctx, from, to)
	done()
	if err != nil {
		return err
	}
	head := struct {
		output.Envelope
		Pool string      `json:"pool"`
		From units.Bytes `json:"from_bytes"`
		To   units.Bytes `json:"to_bytes"`
	}{output.Schema(), pool.Name(), from, to}
	return c.List(head, "owners", []any{"DATA", "LENGTH", "VIRTUAL", "VOLUME"},
		func(add func(any, ...any) error) (output.Tail, error) {
			for _, o := range owners {
				if err := add(ownerView{o.Data, o.Length, newThinView(o.Thin), o.Virtual}, o.Data.Exact(), o.Length.Exact(),
					o.Virtual.Exact(), o.Thin); err != nil {
					return nil, err
				}
			}
			return count{len(owners), "run"}, nil
		})
}
