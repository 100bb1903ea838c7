package units

import "testing"

func TestParse(t *testing.T) {
	tests := []struct {
		text string
		want Bytes
		bad  bool
	}{
		{text: "0", want: 0},
		{text: "4096", want: 4096},
		{text: "64K", want: 64 * KiB},
		{text: "64k", want: 64 * KiB},
		{text: "64KiB", want: 64 * KiB},
		{text: "64KB", want: 64 * KiB},
		{text: "1.5G", want: 3 * GiB / 2},
		{text: " 10g ", want: 10 * GiB},
		{text: "8191P", want: 8191 * PiB},
		{text: "9P", want: 9 * PiB},
		{text: "8192P", bad: true},
		{text: "99999999999999999999999", bad: true},
		{text: "", bad: true},
		{text: "G", bad: true},
		{text: "-1G", bad: true},
		{text: "1.G", bad: true},
		{text: "1.5", bad: true},
		{text: "1e3", bad: true},
		{text: "10X", bad: true},
	}
	for _, test := range tests {
		got, err := Parse(test.text)
		if (err != nil) != test.bad {
			t.Errorf("Parse(%q): error %v, want error: %v", test.text, err, test.bad)
			continue
		}
		if got != test.want {
			t.Errorf("Parse(%q) = %d, want %d", test.text, got, test.want)
		}
	}
}

func TestString(t *testing.T) {
	tests := map[Bytes]string{
		0: "0B", 511: "511B", KiB: "1K", 64 * KiB: "64K", 1536 * MiB: "1.50G", 100 * GiB: "100G", 3 * TiB: "3T",
	}
	for size, want := range tests {
		if got := size.String(); got != want {
			t.Errorf("%d: got %q, want %q", uint64(size), got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"10G", "1.5T", "", "9223372036854775807", ".5", "64KiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := Parse(text)
		if err == nil && size>>63 != 0 {
			t.Fatalf("Parse(%q) = %d does not fit in 63 bits", text, uint64(size))
		}
	})
}

func TestRoundUp(t *testing.T) {
	if got := Bytes(1).RoundUp(4 * KiB); got != 4*KiB {
		t.Errorf("RoundUp(1) = %d, want %d", got, 4*KiB)
	}
	if got := (8 * KiB).RoundUp(4 * KiB); got != 8*KiB {
		t.Errorf("RoundUp(8K) = %d, want %d", got, 8*KiB)
	}
	if got := Bytes(1<<64 - 1).RoundUp(4 * KiB); got%(4*KiB) != 0 {
		t.Errorf("RoundUp(max) = %d, want a multiple of 4K", got)
	}
}

func TestExact(t *testing.T) {
	for b, want := range map[Bytes]string{
		0: "0", 511: "511", KiB: "1K", 64*MiB + 64*KiB: "65600K", 16192 * MiB: "16192M", 3 * PiB: "3P",
	} {
		if got := b.Exact(); got != want {
			t.Errorf("%d: got %q, want %q", uint64(b), got, want)
		}
		if parsed, err := Parse(want); err != nil || parsed != b {
			t.Errorf("Parse(%q): got %d, %v, want %d", want, uint64(parsed), err, uint64(b))
		}
	}
}
