package poolmap

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write new files in testdata")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the drawing differs; run the test with -update, then git diff", path)
	}
}

func TestGolden(t *testing.T) {
	maps := sampleMaps()
	draw := func(name string, f func(*bytes.Buffer) error) {
		var out bytes.Buffer
		if err := f(&out); err != nil {
			t.Fatalf("%s: got %v, want nil", name, err)
		}
		golden(t, name, out.Bytes())
	}
	for _, name := range []string{"empty", "64M", "100G", "16T"} {
		draw(name+".txt", func(out *bytes.Buffer) error { return Terminal(out, maps[name], TerminalOptions{}) })
	}
	draw("64M.truecolor.txt", func(out *bytes.Buffer) error {
		return Terminal(out, maps["64M"], TerminalOptions{Width: 60, Height: 4, Color: TrueColor})
	})
	draw("64M.256.txt", func(out *bytes.Buffer) error {
		return Terminal(out, maps["64M"], TerminalOptions{Width: 60, Height: 4, Color: Color256})
	})
	for _, name := range []string{"empty", "64M"} {
		draw(name+".svg", func(out *bytes.Buffer) error { return SVG(out, maps[name], SVGOptions{Title: "Pool " + name}) })
	}
}
