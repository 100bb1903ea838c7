package oncall

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestSVG(t *testing.T) {
	p := Picture{Name: "p", Title: "Data <of> a pool", Until: 100,
		Lines: []Line{
			{Name: "used", Style: Filled, At: []float64{0, 50, 100}, Bytes: []float64{0, 64 << 20, 128 << 20}},
			{Name: "size", Style: Solid, At: []float64{0, 100}, Bytes: []float64{128 << 20, 256 << 20}},
			{Name: "nothing", Style: Dotted}},
		Rows: []Row{{Name: "alert", Spans: [][2]float64{{10, 20}}, Urgent: true}, {Name: "extended", Moments: []float64{30}}}}
	var b bytes.Buffer
	if err := p.SVG(&b); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(b.Bytes())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"Data &lt;of&gt; a pool", "prefers-color-scheme:dark", ">50 MiB<", ">100 s<", ">used<",
		">alert<",
		`class="urgent" x="232.0"`, "M396.0 "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestNice(t *testing.T) {
	for v, want := range map[float64]float64{0.9: 1, 1.2: 2, 2.2: 2.5, 3: 5, 7: 10, 34: 50, 180: 200} {
		if got := nice(v); got != want {
			t.Errorf("nice(%g) is %g, want %g", v, got, want)
		}
	}
}
