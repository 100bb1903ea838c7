package poolmap

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"thinctl/units"
)

func TestSpansThatAreNoLayout(t *testing.T) {
	tests := map[string][]Span{
		"none":                 {},
		"gap at the beginning": {{1, 9, Free, 0}},
		"gap":                  {{0, 4, Free, 0}, {5, 5, Free, 0}},
		"ends early":           {{0, 9, Free, 0}},
		"overlap":              {{0, 6, Free, 0}, {5, 5, Shared, 0}},
		"unordered":            {{5, 5, Free, 0}, {0, 5, Free, 0}},
		"twice":                {{0, 10, Free, 0}, {0, 10, Free, 0}},
		"beyond the end":       {{0, 11, Free, 0}},
		"begins past the end":  {{0, 10, Free, 0}, {10, 1, Free, 0}},
		"wraps":                {{0, 5, Free, 0}, {5, math.MaxUint64, Free, 0}},
		"empty span":           {{0, 0, Free, 0}, {0, 10, Free, 0}},
		"unknown kind":         {{0, 10, 3, 0}},
		"unknown owner":        {{0, 10, Exclusive, 2}},
		"negative owner":       {{0, 10, Exclusive, -1}},
	}
	for name, spans := range tests {
		m := Map{BlockSize: 64 * units.KiB, Blocks: 10, Owners: []string{"a", "b"}, Spans: spansOf(spans...)}
		if err := Terminal(io.Discard, m, TerminalOptions{}); !errors.Is(err, ErrSpans) {
			t.Errorf("%s: Terminal: got %v, want %v", name, err, ErrSpans)
		}
		if err := SVG(io.Discard, m, SVGOptions{}); !errors.Is(err, ErrSpans) {
			t.Errorf("%s: SVG: got %v, want %v", name, err, ErrSpans)
		}
	}
}

func TestSpansThatChangeBetweenReadings(t *testing.T) {
	first := true
	m := Map{BlockSize: 64 * units.KiB, Blocks: 10, Owners: []string{"a"}}
	m.Spans = func(visit func(Span) error) error {
		kind := Exclusive
		if first {
			kind, first = Free, false
		}
		return visit(Span{0, 10, kind, 0})
	}
	if err := Terminal(io.Discard, m, TerminalOptions{}); !errors.Is(err, ErrSpans) {
		t.Errorf("got %v, want %v", err, ErrSpans)
	}
}

func TestInvalidDevices(t *testing.T) {
	for _, m := range []Map{
		{}, {Blocks: 1}, {BlockSize: 1}, {BlockSize: units.GiB, Blocks: 1 << 33}, {BlockSize: 2, Blocks: math.MaxUint64},
	} {
		if Terminal(io.Discard, m, TerminalOptions{}) == nil || SVG(io.Discard, m, SVGOptions{}) == nil {
			t.Errorf("%d blocks of %d bytes: got nil, want an error", m.Blocks, m.BlockSize)
		}
	}
}

func TestErrorsOfSpansAndWriter(t *testing.T) {
	broken := errors.New("broken")
	m := sampleMaps()["64M"]
	if err := SVG(failing{broken}, m, SVGOptions{}); !errors.Is(err, broken) {
		t.Errorf("SVG, failing writer: got %v, want %v", err, broken)
	}
	if err := Terminal(failing{broken}, m, TerminalOptions{}); !errors.Is(err, broken) {
		t.Errorf("Terminal, failing writer: got %v, want %v", err, broken)
	}
	m.Spans = func(func(Span) error) error { return broken }
	if err := SVG(io.Discard, m, SVGOptions{}); !errors.Is(err, broken) {
		t.Errorf("SVG, failing spans: got %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestClean(t *testing.T) {
	tests := map[string]string{
		"web": "web", "": "(unnamed)", "a\x1b[31mb": "a�[31mb", "a\nb": "a�b", "a\u202eb": "a�b", "a\xffb": "a�b",
		"ü 日本": "ü 日本",
	}
	for name, want := range tests {
		if got := clean(name); got != want {
			t.Errorf("clean(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestFit(t *testing.T) {
	for _, name := range []string{"", "a", "abcdefghij", "日本日本日本日本", strings.Repeat("e\u0301", 500)} {
		for limit := 2; limit < 20; limit++ {
			got := fit(name, limit, "..")
			if width(got) > limit || (width(name) <= limit && got != name) {
				t.Errorf("fit(%q, %d) = %q, want at most %d columns", name, limit, got, limit)
			}
		}
	}
	if got := fit("container-0123456789abcdef", 14, ".."); got != "contai..abcdef" {
		t.Errorf("fit: got %q, want %q", got, "contai..abcdef")
	}
}
