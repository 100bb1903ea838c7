package compression_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"thinctl/fault"
	"thinctl/internal/images/compression"
	"thinctl/units"
)

const hello = "hello\n"

// compressed returns hello, compressed.
func compressed(t *testing.T, kind compression.Kind) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch kind {
	case compression.Plain:
		return hello
	case compression.Gzip:
		w = gzip.NewWriter(&b)
	case compression.Zstd:
		w, err = zstd.NewWriter(&b)
	case compression.Xz:
		w, err = xz.NewWriter(&b)
	case compression.Bzip2: // Go has no writer
		raw, err := hex.DecodeString("425a6839314159265359c1c080e2000001410000100244a00030cd00c3462997177245385090c1c080e2")
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if err == nil {
		_, err = io.WriteString(w, hello)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var kinds = []compression.Kind{compression.Plain, compression.Gzip, compression.Zstd, compression.Xz, compression.Bzip2}

func read(t *testing.T, r io.Reader, o compression.Options) (string, []string, error) {
	t.Helper()
	var warned []string
	o.Warn = func(w fault.Warning) { warned = append(warned, w.String()) }
	d, err := compression.NewReader(r, o)
	if err != nil {
		return "", warned, err
	}
	defer d.Close()
	got, err := io.ReadAll(d)
	return string(got), warned, err
}

func TestQuirks(t *testing.T) {
	for _, kind := range kinds {
		one := compressed(t, kind)
		for _, c := range []struct {
			name, input, want string
			warnings          int
			err               error
		}{
			{"as written", one, hello, 0, nil},
			{"two members", one + one, hello + hello, 0, nil},
			{"zeros after it", one + strings.Repeat("\x00", 512), hello, 1, nil},
			{"few zeros after it", one + strings.Repeat("\x00", 9), hello, 1, nil},
			{"garbage after it", one + "garbage, and some more of it", hello, 1, nil},
			{"cut short", one[:len(one)-3], "", 0, compression.ErrTruncated},
			{"only its head", one[:min(len(one), 7)], "", 0, compression.ErrTruncated},
			{"a flipped bit", one[:len(one)-4] + string(one[len(one)-4]^1) + one[len(one)-3:], "", 0, compression.ErrDamaged},
		} {
			t.Run(string(kind)+"/"+c.name, func(t *testing.T) {
				if kind == compression.Plain {
					c.want, c.warnings, c.err = c.input, 0, nil
				}
				if kind == compression.Bzip2 && c.name == "a flipped bit" {
					c.input = c.input[:11] + "\x00" + c.input[12:]
				}
				got, warned, err := read(t, iotest.OneByteReader(strings.NewReader(c.input)), compression.Options{})
				if !errors.Is(err, c.err) || c.err == nil && (err != nil || got != c.want) {
					t.Errorf("got %q, %v, want %q, %v", got, err, c.want, c.err)
				}
				if len(warned) != c.warnings {
					t.Errorf("got %d warnings, want %d: %q", len(warned), c.warnings, warned)
				}
			})
		}
	}
	for _, c := range []struct{ name, input, want string }{
		{"xz, padding between streams", compressed(t, compression.Xz) + "\x00\x00\x00\x00" + compressed(t, compression.Xz), hello + hello},
		{"xz of nothing", "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x00\x00\x00\x00\x1c\xdfD!\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ", ""},
		{"zstd after a skippable frame", "\x50\x2a\x4d\x18\x02\x00\x00\x00ab" + compressed(t, compression.Zstd), hello},
		{"nothing", "", ""},
		{"a tar whose first name begins with a magic", "BZh" + strings.Repeat("x", 254) + "ustar", "BZh" + strings.Repeat("x", 254) + "ustar"},
	} {
		if got, warned, err := read(t, strings.NewReader(c.input), compression.Options{}); err != nil || got != c.want || len(warned) != 0 {
			t.Errorf("%s: got %q, %v, want %q, and no warnings: %q", c.name, got, err, c.want, warned)
		}
	}
}

// TestWindow checks that data which need more memory than allowed are an error.
func TestWindow(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20/16)
	for _, c := range []struct {
		kind    compression.Kind
		written units.Bytes
		allowed units.Bytes
		err     error
	}{
		{compression.Zstd, 128 * units.MiB, 0, nil},
		{compression.Zstd, 256 * units.MiB, 0, compression.ErrWindow},
		{compression.Zstd, 256 * units.MiB, 256 * units.MiB, nil},
		{compression.Xz, 128 * units.MiB, 0, nil},
		{compression.Xz, 129 * units.MiB, 0, compression.ErrWindow},
		{compression.Xz, 129 * units.MiB, 256 * units.MiB, nil},
	} {
		var b bytes.Buffer
		switch c.kind {
		case compression.Zstd:
			// A frame of raw blocks whose header names the window (RFC 8878, 3.1.1).
			log := 0
			for units.Bytes(1)<<log < c.written {
				log++
			}
			b.WriteString("\x28\xb5\x2f\xfd\x00")
			b.WriteByte(byte(log-10) << 3)
			block := data[:1<<17]
			header := len(block)<<3 | 1 // the last block, raw
			b.Write([]byte{byte(header), byte(header >> 8), byte(header >> 16)})
			b.Write(block)
		case compression.Xz:
			w, err := xz.WriterConfig{DictCap: int(c.written)}.NewWriter(&b)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(data[:1<<17]); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		got, _, err := read(t, &b, compression.Options{Window: c.allowed})
		if !errors.Is(err, c.err) || c.err == nil && (err != nil || got != string(data[:1<<17])) {
			t.Errorf("%s with a window of %s, allowed %s: got %d bytes, %v, want %v", c.kind, c.written, c.allowed, len(got), err, c.err)
		}
	}
}

func TestUnsupported(t *testing.T) {
	for _, head := range []string{"LZIP\x01", "\x04\x22\x4d\x18"} {
		if _, _, err := read(t, strings.NewReader(head+"rest"), compression.Options{}); !errors.Is(err, compression.ErrUnsupported) {
			t.Errorf("%q: got %v, want %v", head, err, compression.ErrUnsupported)
		}
	}
}

// TestSource checks that an error of the source is returned, at any position.
func TestSource(t *testing.T) {
	failure := errors.New("disk removed")
	for _, kind := range kinds {
		one := compressed(t, kind)
		for _, n := range []int{0, 3, len(one) / 2, len(one)} {
			r := io.MultiReader(strings.NewReader(one[:n]), iotest.ErrReader(failure))
			if _, _, err := read(t, r, compression.Options{}); !errors.Is(err, failure) {
				t.Errorf("%s, after %d bytes: got %v, want %v", kind, n, err, failure)
			}
		}
	}
}
