package imagetest

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"strings"
)

// Kind is the kind of a file's content.
type Kind byte

// Kinds of content.
const (
	Literal Kind = iota // Content.Text
	Random              // cannot be compressed
	Text                // words, which compress to a third or a quarter
	Zeros
	Holes // zeros, with blocks of random bytes far apart
)

// Content is a file's bytes, which are generated when they are read.
type Content struct {
	Kind Kind
	Size int64
	Seed uint64
	Text string // of a Literal, whose Size may be left out
}

// extent is a part of a content that is not zero.
type extent struct {
	offset, length int64
}

const holeBlock = 4096

func (c Content) size() int64 {
	if c.Kind == Literal {
		return int64(len(c.Text))
	}
	return c.Size
}

// extents returns the parts of Holes with data: 16 blocks, but not the last block.
func (c Content) extents() []extent {
	stride := c.Size / 16 / holeBlock * holeBlock
	var found []extent
	for at := int64(0); stride > holeBlock && at+holeBlock < c.Size && len(found) < 16; at += stride {
		found = append(found, extent{at, holeBlock})
	}
	return found
}

// open returns the content from its start.
func (c Content) open() io.Reader {
	switch c.Kind {
	case Random:
		return io.LimitReader(newNoise(c.Seed), c.Size)
	case Text:
		return io.LimitReader(newProse(c.Seed), c.Size)
	case Zeros:
		return io.LimitReader(zeros{}, c.Size)
	case Holes:
		return c.openHoles()
	default:
		return strings.NewReader(c.Text)
	}
}

func (c Content) openHoles() io.Reader {
	var parts []io.Reader
	at := int64(0)
	data := newNoise(c.Seed)
	for _, e := range c.extents() {
		parts = append(parts, io.LimitReader(zeros{}, e.offset-at), io.LimitReader(data, e.length))
		at = e.offset + e.length
	}
	return io.MultiReader(append(parts, io.LimitReader(zeros{}, c.Size-at))...)
}

// digest returns the digest from ReadTree for a file with this content.
func (c Content) digest() string {
	d := newDigester()
	if c.Kind != Holes && c.Kind != Zeros {
		d.copy(c.open())
		return d.sum()
	}
	at, data := int64(0), newNoise(c.Seed)
	if c.Kind == Holes {
		for _, e := range c.extents() {
			d.skip(e.offset - at)
			d.copy(io.LimitReader(data, e.length))
			at = e.offset + e.length
		}
	}
	d.skip(c.Size - at)
	return d.sum()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// noise is an endless stream of bytes, determined by the seed.
type noise struct {
	random *rand.PCG
	rest   []byte
	word   [8]byte
}

func newNoise(seed uint64) *noise {
	return &noise{random: rand.NewPCG(seed, 0x7468696e63746c)}
}

func (n *noise) Read(p []byte) (int, error) {
	done := copy(p, n.rest)
	n.rest = n.rest[done:]
	for ; len(p)-done >= 8; done += 8 {
		binary.LittleEndian.PutUint64(p[done:], n.random.Uint64())
	}
	if done < len(p) {
		binary.LittleEndian.PutUint64(n.word[:], n.random.Uint64())
		n.rest = n.word[copy(p[done:], n.word[:]):]
		done = len(p)
	}
	return done, nil
}

// prose is an endless stream of lines of words.
type prose struct {
	random *rand.Rand
	line   bytes.Buffer
}

func newProse(seed uint64) *prose {
	return &prose{random: rand.New(rand.NewPCG(seed, 0x70726f7365))}
}

var vocabulary = strings.Fields(`pool layer block origin snapshot volume thin data metadata map
	kernel device image container commit diff load save sparse loop mount write read copy
	license package version library include return static const struct function share local
	0x00 0x7f 1.2.3 http www the of and to in is that for it as was with be by on not he`)

func (p *prose) Read(to []byte) (int, error) {
	for p.line.Len() < len(to) {
		for range 12 {
			p.line.WriteString(vocabulary[p.random.IntN(len(vocabulary))])
			p.line.WriteByte(' ')
		}
		p.line.WriteByte('\n')
	}
	return p.line.Read(to)
}
