package dm

import (
	"fmt"
	"strconv"
	"strings"

	"thinctl/blockdev"
	"thinctl/units"
)

// Linear is the linear target: it maps a range to a device, from an offset on.
type Linear struct {
	Start  units.Sectors
	Length units.Sectors
	Dev    blockdev.Number
	Offset units.Sectors
}

// Line implements [Target].
func (t Linear) Line() Line {
	return Line{Start: t.Start, Length: t.Length, Type: TypeLinear, Params: fmt.Sprintf("%s %d", t.Dev, t.Offset)}
}

// ParseLinear parses a table line of a linear target.
func ParseLinear(line Line) (Linear, error) {
	p := newTokens(line, TypeLinear)
	t := Linear{Start: line.Start, Length: line.Length, Dev: p.dev("device")}
	t.Offset = units.Sectors(p.number("offset"))
	return t, p.end()
}

// ErrorTarget is the error target: every IO in the range fails with EIO.
type ErrorTarget struct {
	Start  units.Sectors
	Length units.Sectors
}

// Line implements [Target].
func (t ErrorTarget) Line() Line { return Line{Start: t.Start, Length: t.Length, Type: TypeError} }

// ParseErrorTarget parses a table line of an error target.
func ParseErrorTarget(line Line) (ErrorTarget, error) {
	p := newTokens(line, TypeError)
	return ErrorTarget{Start: line.Start, Length: line.Length}, p.end()
}

// Flakey is the flakey target, with which tests lose writes. It is up for Up
// seconds, then down for Down seconds, in turn. Without a feature all IO fails while
// it is down; newer kernels (6.12) then print both error features.
type Flakey struct {
	Start       units.Sectors
	Length      units.Sectors
	Dev         blockdev.Number
	Offset      units.Sectors
	Up, Down    uint // seconds
	DropWrites  bool
	ErrorWrites bool
	ErrorReads  bool // separate from ErrorWrites from target 1.5 on
}

// Line implements [Target].
func (t Flakey) Line() Line {
	params := fmt.Sprintf("%s %d %d %d", t.Dev, t.Offset, t.Up, t.Down)
	var features []string
	if t.ErrorReads {
		features = append(features, "error_reads")
	}
	if t.DropWrites {
		features = append(features, "drop_writes")
	}
	if t.ErrorWrites {
		features = append(features, "error_writes")
	}
	params += fmt.Sprintf(" %d", len(features))
	if len(features) > 0 {
		params += " " + strings.Join(features, " ")
	}
	return Line{Start: t.Start, Length: t.Length, Type: TypeFlakey, Params: params}
}

// ParseFlakey parses a table line of a flakey target. It rejects the features that
// corrupt IO as unknown.
func ParseFlakey(line Line) (Flakey, error) {
	p := newTokens(line, TypeFlakey)
	t := Flakey{Start: line.Start, Length: line.Length, Dev: p.dev("device")}
	t.Offset = units.Sectors(p.number("offset"))
	t.Up = uint(p.number("up interval"))
	t.Down = uint(p.number("down interval"))
	if p.more() {
		for n := p.number("feature count"); n > 0 && p.err == nil; n-- {
			switch f := p.next("feature"); f {
			case "drop_writes":
				t.DropWrites = true
			case "error_writes":
				t.ErrorWrites = true
			case "error_reads":
				t.ErrorReads = true
			default:
				p.fail("unknown feature %q", f)
			}
		}
	}
	return t, p.end()
}

// tokens parses a line's parameters from left to right. It keeps the first error,
// which always contains the whole line.
type tokens struct {
	line Line
	rest []string
	err  error
}

func newTokens(line Line, target string) *tokens {
	p := &tokens{line: line, rest: strings.Fields(line.Params)}
	if line.Type != target {
		p.fail("target is not %s", target)
	}
	return p
}

func (p *tokens) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%s line %q: %s", p.line.Type, p.line.String(), fmt.Sprintf(format, args...))
	}
}

func (p *tokens) more() bool { return p.err == nil && len(p.rest) > 0 }

func (p *tokens) next(what string) string {
	if p.err != nil {
		return ""
	}
	if len(p.rest) == 0 {
		p.fail("%s is missing", what)
		return ""
	}
	token := p.rest[0]
	p.rest = p.rest[1:]
	return token
}

func (p *tokens) parse(what, token string) uint64 {
	if p.err != nil {
		return 0
	}
	v, err := strconv.ParseUint(token, 10, 64)
	if err != nil {
		p.fail("%s %q is not a number", what, token)
	}
	return v
}

func (p *tokens) number(what string) uint64 { return p.parse(what, p.next(what)) }

func (p *tokens) fraction(what string) (used, total uint64) {
	token := p.next(what)
	before, after, ok := strings.Cut(token, "/")
	if !ok {
		p.fail("%s %q is not used/total", what, token)
	}
	return p.parse(what, before), p.parse(what, after)
}

func (p *tokens) dev(what string) blockdev.Number {
	token := p.next(what)
	if p.err != nil {
		return blockdev.Number{}
	}
	dev, err := blockdev.ParseNumber(token)
	if err != nil {
		p.fail("%s: %v", what, err)
	}
	return dev
}

func (p *tokens) end() error {
	if p.more() {
		p.fail("unknown token %q", p.rest[0])
	}
	return p.err
}
