package dm

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"thinctl/blockdev"
	"thinctl/units"
)

func poolLine(params string) Line { return Line{Length: 2048, Type: TypeThinPool, Params: params} }

func thinLine(params string) Line { return Line{Length: 2048, Type: TypeThin, Params: params} }

func TestParsePoolStatus(t *testing.T) {
	for _, c := range []struct {
		kernel, params string
		want           PoolStatus
	}{
		{"3.10, 1.8", "5 12/1024 7/160 - rw discard_passdown",
			PoolStatus{TransactionID: 5, UsedMetadata: 12, TotalMetadata: 1024, UsedData: 7, TotalData: 160}},
		{"CentOS 7, 1.14", "5 12/1024 160/160 33 out_of_data_space no_discard_passdown error_if_no_space",
			PoolStatus{TransactionID: 5, UsedMetadata: 12, TotalMetadata: 1024, UsedData: 160, TotalData: 160,
				HeldRoot: 33, Mode: ModeOutOfDataSpace, Discard: DiscardNoPassdown, ErrorIfNoSpace: true}},
		{"1.15", "0 1/2 3/4 - ro ignore_discard queue_if_no_space needs_check",
			PoolStatus{UsedMetadata: 1, TotalMetadata: 2, UsedData: 3, TotalData: 4,
				Mode: ModeReadOnly, Discard: DiscardIgnored, NeedsCheck: true}},
		{"6.1, 1.22", "18446744073709551615 1/2 3/4 - rw discard_passdown queue_if_no_space - 1024",
			PoolStatus{TransactionID: 1<<64 - 1, UsedMetadata: 1, TotalMetadata: 2, UsedData: 3, TotalData: 4,
				MetadataLow: 1024}},
		{"failed", "Fail", PoolStatus{Mode: ModeFail}},
		{"unreadable", "Error", PoolStatus{Mode: ModeFail}},
	} {
		got, err := ParsePoolStatus(poolLine(c.params))
		if err != nil || got != c.want {
			t.Errorf("%s: %q\n got %+v, %v\nwant %+v", c.kernel, c.params, got, err, c.want)
		}
	}
}

// malformed returns invalid variants of a valid line: without its last tokens, with one
// token changed, and with one token too many. complete lists the numbers of tokens that
// form a valid line too.
func malformed(valid string, complete ...int) []string {
	tokens := strings.Fields(valid)
	var variants []string
	for n := range tokens {
		if !slices.Contains(complete, n) {
			variants = append(variants, strings.Join(tokens[:n], " "))
		}
		for _, token := range []string{"?", "-1", "+1", "0x1", "1.5", "18446744073709551616", tokens[n] + "?"} {
			changed := slices.Clone(tokens)
			changed[n] = token
			variants = append(variants, strings.Join(changed, " "))
		}
	}
	return append(variants, valid+" more", valid+" 1")
}

func TestMalformedLines(t *testing.T) {
	for what, c := range map[string]struct {
		kind, valid string
		complete    []int
		parse       func(Line) error
	}{
		"pool status": {TypeThinPool,
			"5 12/1024 7/160 9 rw discard_passdown queue_if_no_space needs_check 1024", []int{6, 7, 8},
			func(l Line) error { _, err := ParsePoolStatus(l); return err }},
		"pool table": {TypeThinPool, "7:1 7:2 128 64 2 skip_block_zeroing error_if_no_space", []int{4},
			func(l Line) error { _, err := ParseThinPool(l); return err }},
		"thin table": {TypeThin, "253:4 17 7:3", []int{2},
			func(l Line) error { _, err := ParseThin(l); return err }},
		"thin status": {TypeThin, "128 1023", nil,
			func(l Line) error { _, err := ParseThinStatus(l); return err }},
		"linear": {TypeLinear, "7:1 2048", nil,
			func(l Line) error { _, err := ParseLinear(l); return err }},
		"flakey": {TypeFlakey, "7:1 0 1 2 2 drop_writes error_reads", []int{4},
			func(l Line) error { _, err := ParseFlakey(l); return err }},
		"error": {TypeError, "", nil,
			func(l Line) error { _, err := ParseErrorTarget(l); return err }},
	} {
		if err := c.parse(Line{Length: 8, Type: c.kind, Params: c.valid}); err != nil {
			t.Errorf("%s: %q: got %v, want nil", what, c.valid, err)
		}
		if err := c.parse(Line{Length: 8, Type: "other", Params: c.valid}); err == nil {
			t.Errorf("%s: line of another target: got nil, want an error", what)
		}
		for _, params := range malformed(c.valid, c.complete...) {
			if err := c.parse(Line{Length: 8, Type: c.kind, Params: params}); err == nil {
				t.Errorf("%s: %q: got nil, want an error", what, params)
			} else if !strings.Contains(err.Error(), params) {
				t.Errorf("%s: got %q, want the line %q in it", what, err, params)
			}
		}
	}
	for _, params := range []string{"fail", "Fail Fail", "Error 1"} {
		if _, err := ParsePoolStatus(poolLine(params)); err == nil {
			t.Errorf("pool status %q: got nil, want an error", params)
		}
		if _, err := ParseThinStatus(thinLine(params)); err == nil {
			t.Errorf("thin status %q: got nil, want an error", params)
		}
	}
	if _, err := ParseThin(thinLine("253:4 16777216")); err == nil {
		t.Error("device id of 25 bits: got nil, want an error")
	}
	if _, err := ParsePoolStatus(poolLine("1 2 3/4 - rw discard_passdown")); err == nil {
		t.Error("metadata without a total: got nil, want an error")
	}
}

func TestParseThinStatus(t *testing.T) {
	for params, want := range map[string]ThinStatus{
		"0 -":      {},
		"256 8191": {Mapped: 256, Highest: 8191},
		"Fail":     {Failed: true},
		"Error":    {Failed: true},
		"-":        {Failed: true},
	} {
		if got, err := ParseThinStatus(thinLine(params)); err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", params, got, err, want)
		}
	}
}

func TestTablesAsTheKernelPrintsThem(t *testing.T) {
	meta, data := blockdev.Number{Major: 7, Minor: 1}, blockdev.Number{Major: 253, Minor: 1048575}
	for _, c := range []struct {
		target Target
		want   string
	}{
		{ThinPool{Length: 1000, Metadata: meta, Data: data, Block: 128, LowWater: 5},
			"0 1000 thin-pool 7:1 253:1048575 128 5 0"},
		{ThinPool{Length: 1000, Metadata: meta, Data: data, Block: 128,
			SkipBlockZeroing: true, IgnoreDiscard: true, NoDiscardPassdown: true, ErrorIfNoSpace: true},
			"0 1000 thin-pool 7:1 253:1048575 128 0 4 skip_block_zeroing ignore_discard no_discard_passdown error_if_no_space"},
		{ThinPool{Length: 1000, Metadata: meta, Data: data, Block: 128, ReadOnly: true},
			"0 1000 thin-pool 7:1 253:1048575 128 0 1 read_only"},
		{Thin{Length: 8, Pool: data, ID: MaxThinID}, "0 8 thin 253:1048575 16777215"},
		{Thin{Length: 8, Pool: data, ID: 0, ExternalOrigin: meta}, "0 8 thin 253:1048575 0 7:1"},
		{Linear{Start: 3, Length: 8, Dev: meta, Offset: 9}, "3 8 linear 7:1 9"},
		{ErrorTarget{Start: 3, Length: 8}, "3 8 error"},
		{Flakey{Length: 8, Dev: meta, Up: 1, Down: 2, DropWrites: true}, "0 8 flakey 7:1 0 1 2 1 drop_writes"},
		{Flakey{Length: 8, Dev: meta, Up: 1, ErrorReads: true, ErrorWrites: true},
			"0 8 flakey 7:1 0 1 0 2 error_reads error_writes"},
	} {
		if got := c.target.Line().String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func devs() *rapid.Generator[blockdev.Number] {
	return rapid.Custom(func(t *rapid.T) blockdev.Number {
		return blockdev.Number{
			Major: rapid.Uint32Range(1, 4095).Draw(t, "major"), Minor: rapid.Uint32Range(0, 1<<20-1).Draw(t, "minor"),
		}
	})
}

func sectors(t *rapid.T, what string) units.Sectors {
	return units.Sectors(rapid.Uint64().Draw(t, what))
}

func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number, flag := rapid.Uint64(), rapid.Bool()
		length := sectors(t, "length")

		pool := ThinPool{
			Length: length, Metadata: devs().Draw(t, "meta"), Data: devs().Draw(t, "data"),
			Block: sectors(t, "block"), LowWater: number.Draw(t, "low"),
			SkipBlockZeroing: flag.Draw(t, "skip"), IgnoreDiscard: flag.Draw(t, "ignore"),
			NoDiscardPassdown: flag.Draw(t, "passdown"),
			ReadOnly:          flag.Draw(t, "ro"), ErrorIfNoSpace: flag.Draw(t, "error"),
		}
		roundTrip(t, pool, pool.Line(), ParseThinPool, ThinPool.Line)

		thin := Thin{Length: length, Pool: devs().Draw(t, "pool"), ID: rapid.Uint32Range(0, MaxThinID).Draw(t, "id")}
		if flag.Draw(t, "external") {
			thin.ExternalOrigin = devs().Draw(t, "origin")
		}
		roundTrip(t, thin, thin.Line(), ParseThin, Thin.Line)

		linear := Linear{Start: sectors(t, "start"), Length: length, Dev: devs().Draw(t, "dev"), Offset: sectors(t, "offset")}
		roundTrip(t, linear, linear.Line(), ParseLinear, Linear.Line)

		flakey := Flakey{
			Start: linear.Start, Length: length, Dev: linear.Dev, Offset: linear.Offset,
			Up: uint(number.Draw(t, "up")), Down: uint(number.Draw(t, "down")),
			DropWrites: flag.Draw(t, "drop"), ErrorWrites: flag.Draw(t, "errw"), ErrorReads: flag.Draw(t, "errr"),
		}
		roundTrip(t, flakey, flakey.Line(), ParseFlakey, Flakey.Line)

		status := PoolStatus{Mode: ModeFail}
		if mode := Mode(rapid.IntRange(0, int(ModeFail)).Draw(t, "mode")); mode != ModeFail {
			status = PoolStatus{
				TransactionID: number.Draw(t, "txid"), UsedMetadata: number.Draw(t, "um"), TotalMetadata: number.Draw(t, "tm"),
				UsedData: number.Draw(t, "ud"), TotalData: number.Draw(t, "td"), HeldRoot: number.Draw(t, "held"),
				Mode: mode, Discard: Discard(rapid.IntRange(0, 2).Draw(t, "discard")),
				ErrorIfNoSpace: flag.Draw(t, "policy"), NeedsCheck: flag.Draw(t, "check"), MetadataLow: number.Draw(t, "mark"),
			}
		}
		roundTrip(t, status, status.Line(length), ParsePoolStatus, func(s PoolStatus) Line { return s.Line(length) })

		of := ThinStatus{Failed: flag.Draw(t, "failed")}
		if !of.Failed {
			if of.Mapped = sectors(t, "mapped"); of.Mapped > 0 {
				of.Highest = sectors(t, "highest")
			}
		}
		roundTrip(t, of, of.Line(length), ParseThinStatus, func(s ThinStatus) Line { return s.Line(length) })
	})
}

// roundTrip checks that parsing and printing a line returns the same value and line.
func roundTrip[T comparable](t *rapid.T, want T, line Line, parse func(Line) (T, error), format func(T) Line) {
	got, err := parse(line)
	if err != nil || got != want {
		t.Fatalf("%q: got %+v, %v; want %+v", line, got, err, want)
	}
	if again := format(got); again != line {
		t.Fatalf("printed %+v: got %q, want %q", got, again, line)
	}
}

// checkStable checks that a value which was parsed from any line is still the same after
// it is printed and parsed again.
func checkStable[T comparable](t *testing.T, line Line, parse func(Line) (T, error), format func(T) Line) {
	first, err := parse(line)
	if err != nil {
		return
	}
	second, err := parse(format(first))
	if err != nil || second != first {
		t.Fatalf("%q: parsed %q: got %+v, %v, want %+v", line, format(first), second, err, first)
	}
}

func FuzzParsePoolStatus(f *testing.F) {
	for _, params := range []string{
		"5 12/1024 7/160 - rw discard_passdown",
		"5 12/1024 160/160 33 out_of_data_space no_discard_passdown error_if_no_space",
		"0 1/2 3/4 - ro ignore_discard queue_if_no_space needs_check",
		"1 1/2 3/4 0 rw discard_passdown queue_if_no_space - 1024", "Fail", "Error", "", "- - - -", "1 /2 3/ - rw",
	} {
		f.Add(params)
	}
	f.Fuzz(func(t *testing.T, params string) {
		checkStable(t, poolLine(params), ParsePoolStatus, func(s PoolStatus) Line { return s.Line(2048) })
	})
}

func FuzzParseThinPool(f *testing.F) {
	for _, params := range []string{
		"7:1 7:2 128 64", "7:1 7:2 128 64 0", "7:1 7:2 128 64 2 skip_block_zeroing error_if_no_space",
		"7:1 7:2 128 64 18446744073709551615 read_only", "07:1 7:2 128 64", "7:1 7:2", "", "7:1  7:2 128 0 1 read_only ",
	} {
		f.Add(params)
	}
	f.Fuzz(func(t *testing.T, params string) {
		checkStable(t, poolLine(params), ParseThinPool, ThinPool.Line)
	})
}

func FuzzParseThinStatus(f *testing.F) {
	for _, params := range []string{"0 -", "128 1023", "5 -", "0 7", "Fail", "Error", "-", "", "1 2 3"} {
		f.Add(params)
	}
	f.Fuzz(func(t *testing.T, params string) {
		checkStable(t, thinLine(params), func(line Line) (ThinStatus, error) {
			s, err := ParseThinStatus(line)
			if s.Mapped == 0 {
				s.Highest = 0 // not valid without a mapped block
			}
			return s, err
		}, func(s ThinStatus) Line { return s.Line(2048) })
	})
}
