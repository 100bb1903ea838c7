package imagetest

import (
	"bytes"
	"io"
	"testing"

	"pgregory.net/rapid"
)

func TestContentIsTheSameForEachReadSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Content{
			Kind: rapid.SampledFrom([]Kind{Random, Text, Zeros, Holes}).Draw(t, "kind"),
			Size: rapid.Int64Range(0, 1<<20).Draw(t, "size"),
			Seed: rapid.Uint64().Draw(t, "seed"),
		}
		whole, err := io.ReadAll(c.open())
		if err != nil || int64(len(whole)) != c.Size {
			t.Fatalf("got %d bytes and error %v, want %d bytes", len(whole), err, c.Size)
		}
		step := rapid.IntRange(1, 10000).Draw(t, "step")
		var parts bytes.Buffer
		if _, err := io.CopyBuffer(struct{ io.Writer }{&parts}, struct{ io.Reader }{c.open()}, make([]byte, step)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(parts.Bytes(), whole) {
			t.Fatalf("got other bytes in reads of %d than in one read", step)
		}
		d := newDigester()
		d.Write(whole)
		if got, want := c.digest(), d.sum(); got != want {
			t.Fatalf("got digest %s, want %s as of the bytes", got, want)
		}
	})
}

func TestDigestsOfContentsDiffer(t *testing.T) {
	seen := map[string]string{}
	for name, parts := range map[string][]any{
		"nothing": {}, "a zero": {1}, "a block": {4096}, "a block and one": {4097}, "two blocks": {8192},
		"data": {"x"}, "data, zeros": {"x", 4095}, "data, more zeros": {"x", 4096}, "zeros, data": {4096, "x"},
		"zeros, data, zeros": {4096, "x", 4095}, "zeros across": {100, "x", 8000},
	} {
		skipped, written := newDigester(), newDigester()
		for _, part := range parts {
			switch p := part.(type) {
			case int:
				skipped.skip(int64(p))
				written.Write(make([]byte, p))
			case string:
				skipped.Write([]byte(p))
				written.Write([]byte(p))
			}
		}
		sum := skipped.sum()
		if other := written.sum(); other != sum {
			t.Errorf("%s: got digest %s of skipped zeros, want %s as of written zeros", name, sum, other)
		}
		if other, ok := seen[sum]; ok {
			t.Errorf("%s: got the digest of %s, want another", name, other)
		}
		seen[sum] = name
	}
}
