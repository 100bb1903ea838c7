package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// XMLError is an error in the XML of a pool. Restore.
type XMLError struct {
	Line int
	Text string
}

func (e *XMLError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Text) }

// Limits of a tag. The tags of thin_dump have about 200 bytes and 8 attributes.
const (
	maxTag        = 64 << 10
	maxAttributes = 16
)

// scanner parses the part of XML that a pool's dump needs: tags, attributes without entities,
// comments and the declaration. Its results are in its buffer until the next call.
type scanner struct {
	r    io.Reader
	b    []byte
	at   int // number of consumed bytes of b
	line int
	read int64
	end  bool // r is at its end
	more func(read int64) error
	tag  tag
}

type tag struct {
	name       []byte
	attributes [maxAttributes]attribute
	n          int
	open, end  bool // both for <a/>
}

type attribute struct{ name, value []byte }

func newScanner(r io.Reader, more func(read int64) error) *scanner {
	return &scanner{r: r, b: make([]byte, 0, 1<<20), line: 1, more: more}
}

func (s *scanner) errorf(format string, args ...any) error {
	return &XMLError{Line: s.line, Text: fmt.Sprintf(format, args...)}
}

// next returns the next tag, or io.EOF after the last.
func (s *scanner) next() (*tag, error) {
	for s.read < 3 && !s.end { // the length of a byte order mark
		if err := s.fill(); err != nil {
			return nil, err
		}
		if s.read >= 3 && bytes.HasPrefix(s.b, []byte("\ufeff")) {
			s.at = 3
		}
	}
	for {
		if err := s.skipSpace(); err != nil {
			return nil, err
		}
		rest := s.b[s.at:]
		switch {
		case rest[0] != '<':
			return nil, s.errorf("text %q, want a tag: not the dump of a thin pool", rest[:min(len(rest), 20)])
		case len(rest) < 4 && !s.end:
			if err := s.fill(); err != nil {
				return nil, err
			}
		case bytes.HasPrefix(rest, []byte("<!--")):
			if err := s.skip("<!--", "-->"); err != nil {
				return nil, err
			}
		case bytes.HasPrefix(rest, []byte("<?")):
			if err := s.skip("<?", "?>"); err != nil {
				return nil, err
			}
		default:
			n, err := s.parse(rest)
			if err != nil {
				return nil, err
			}
			if n > 0 {
				s.consume(n)
				return &s.tag, nil
			}
			if len(rest) > maxTag {
				return nil, s.errorf("tag of over %d bytes", maxTag)
			}
			if err := s.fill(); err != nil {
				return nil, err
			}
		}
	}
}

func (s *scanner) consume(n int) {
	s.line += bytes.Count(s.b[s.at:s.at+n], []byte{'\n'})
	s.at += n
}

// skipSpace moves to the next byte that is not blank.
func (s *scanner) skipSpace() error {
	for {
		for i, c := range s.b[s.at:] {
			switch c {
			case ' ', '\t', '\r':
			case '\n':
				s.line++
			default:
				s.at += i
				return nil
			}
		}
		s.at = len(s.b)
		if s.end {
			return io.EOF
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// skip moves past a comment or declaration of any length.
func (s *scanner) skip(from, to string) error {
	s.consume(len(from))
	for {
		if i := bytes.Index(s.b[s.at:], []byte(to)); i >= 0 {
			s.consume(i + len(to))
			return nil
		}
		s.consume(max(0, len(s.b)-s.at-len(to)+1)) // the buffer may end with a part of to
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// fill reads more text after the bytes that are not consumed. It is called only inside a tag or
// comment, so the end of the text is an error.
func (s *scanner) fill() error {
	if s.end {
		return s.errorf("the XML ends inside a tag or comment: it is incomplete")
	}
	n := copy(s.b[:cap(s.b)], s.b[s.at:])
	s.b, s.at = s.b[:n], 0
	for tries := 0; ; tries++ {
		n, err := s.r.Read(s.b[len(s.b):cap(s.b)])
		s.b = s.b[:len(s.b)+n]
		s.read += int64(n)
		if errors.Is(err, io.EOF) {
			s.end = true
			return nil
		}
		if err == nil && n == 0 && tries > 100 {
			err = io.ErrNoProgress
		}
		if err != nil {
			return fmt.Errorf("read XML after line %d: %w", s.line, err)
		}
		if n > 0 {
			return s.more(s.read)
		}
	}
}

func blank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func nameByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == ':'
}

// parse parses one tag at the start of b and returns its length, or 0 if b ends before the tag.
func (s *scanner) parse(b []byte) (int, error) {
	t := &s.tag
	t.n, t.open, t.end = 0, true, false
	i := 1
	if i < len(b) && b[i] == '/' {
		t.open, t.end = false, true
		i++
	}
	start := i
	for i < len(b) && nameByte(b[i]) {
		i++
	}
	t.name = b[start:i]
	if i < len(b) && len(t.name) == 0 {
		return 0, s.errorf("%q is not a tag of a pool's XML", b[:min(len(b), 20)])
	}
	for {
		gap := i
		for i < len(b) && blank(b[i]) {
			i++
		}
		switch {
		case i+1 >= len(b) && (i >= len(b) || b[i] != '>'):
			return 0, nil
		case b[i] == '>':
			return i + 1, nil
		case b[i] == '/' && b[i+1] == '>' && t.open:
			t.end = true
			return i + 2, nil
		case gap == i || !t.open:
			return 0, s.errorf("%q inside <%s>", b[i:min(len(b), i+10)], t.name)
		}
		n, err := s.attribute(b[i:])
		if n == 0 || err != nil {
			return 0, err
		}
		i += n
	}
}

func (s *scanner) attribute(b []byte) (int, error) {
	t, i := &s.tag, 0
	for i < len(b) && nameByte(b[i]) {
		i++
	}
	name := b[:i]
	for i < len(b) && blank(b[i]) {
		i++
	}
	if i == len(b) {
		return 0, nil
	}
	if b[i] != '=' || len(name) == 0 {
		return 0, s.errorf("%q in <%s> is not an attribute", b[:min(len(b), 10)], t.name)
	}
	i++
	for i < len(b) && blank(b[i]) {
		i++
	}
	if i == len(b) {
		return 0, nil
	}
	quote := b[i]
	if quote != '"' && quote != '\'' {
		return 0, s.errorf("the value of %s in <%s> has no quotes", name, t.name)
	}
	n := bytes.IndexByte(b[i+1:], quote)
	if n < 0 {
		return 0, nil
	}
	value := b[i+1:][:n]
	if bytes.IndexByte(value, '&') >= 0 || bytes.IndexByte(value, '<') >= 0 {
		return 0, s.errorf("the value of %s in <%s> has an entity or a <, which are not supported", name, t.name)
	}
	for _, a := range t.attributes[:t.n] {
		if bytes.Equal(a.name, name) {
			return 0, s.errorf("%s twice in <%s>", name, t.name)
		}
	}
	if t.n == maxAttributes {
		return 0, s.errorf("over %d attributes in <%s>", maxAttributes, t.name)
	}
	t.attributes[t.n] = attribute{name, value}
	t.n++
	return i + 1 + n + 1, nil
}
