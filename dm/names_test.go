package dm

import (
	"strings"
	"testing"

	"thinctl/blockdev"
)

func TestMangle(t *testing.T) {
	for plain, mangled := range map[string]string{
		"":                         "",
		"thinctl-vault":            "thinctl-vault",
		"a#b+c.d:e=f@g_h-1":        "a#b+c.d:e=f@g_h-1",
		"two words":                `two\x20words`,
		`back\slash`:               `back\x5cslash`,
		`\x20`:                     `\x5cx20`,
		"größe":                    `gr\xc3\xb6\xc3\x9fe`,
		`"quoted'`:                 `\x22quoted\x27`,
		"percent%, star* and ~":    `percent\x25\x2c\x20star\x2a\x20and\x20\x7e`,
		"tab\tand\x00nul and \xff": `tab\x09and\x00nul\x20and\x20\xff`,
	} {
		if got := mangle(plain); got != mangled {
			t.Errorf("mangle(%q) = %q, want %q", plain, got, mangled)
		}
		if got := unmangle(mangled); got != plain {
			t.Errorf("unmangle(%q) = %q, want %q", mangled, got, plain)
		}
	}
	// Text that another program has mangled, and text that is not mangled.
	for mangled, plain := range map[string]string{
		`a\x2Fb`: "a/b", `\x`: `\x`, `\x4`: `\x4`, `\xg0`: `\xg0`, `a\b`: `a\b`, `\\x41`: `\A`,
	} {
		if got := unmangle(mangled); got != plain {
			t.Errorf("unmangle(%q) = %q, want %q", mangled, got, plain)
		}
	}
}

func TestNewName(t *testing.T) {
	for _, text := range []string{
		"a", "with space", "größe", strings.Repeat("n", 127), strings.Repeat(" ", 31), "...", "-",
	} {
		if name, err := NewName(text); err != nil || string(name) != text {
			t.Errorf("NewName(%q): got %q, %v, want the same text", text, name, err)
		}
	}
	for _, text := range []string{
		"", ".", "..", "a/b", "/", "line\nbreak", "del\x7f", "\x00", strings.Repeat("n", 128), strings.Repeat(" ", 32),
	} {
		if name, err := NewName(text); err == nil || name != "" {
			t.Errorf("NewName(%q): got %q, %v, want an error", text, name, err)
		}
	}
}

func TestNewUUID(t *testing.T) {
	for _, text := range []string{"", "LVM-x", "a/b", strings.Repeat("u", 128)} {
		if mangled := len(mangle(text)); mangled > maxUUIDLen {
			t.Fatalf("test case %q: got %d mangled bytes, want at most %d", text, mangled, maxUUIDLen)
		}
		if uuid, err := NewUUID(text); err != nil || string(uuid) != text {
			t.Errorf("NewUUID(%q): got %q, %v, want the same text", text, uuid, err)
		}
	}
	for _, text := range []string{"a\tb", strings.Repeat("u", 129), strings.Repeat("/", 33)} {
		if uuid, err := NewUUID(text); err == nil || uuid != "" {
			t.Errorf("NewUUID(%q): got %q, %v, want an error", text, uuid, err)
		}
	}
}

func TestNode(t *testing.T) {
	const want = `/dev/mapper/two\x20words`
	if got := Name("two words").Node(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRef(t *testing.T) {
	for want, ref := range map[string]Ref{
		"vault": ByName("vault"), "uuid V-1": ByUUID("V-1"), "253:7": ByDev(blockdev.Number{Major: 253, Minor: 7}),
	} {
		if got := ref.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzUnmangle(f *testing.F) {
	for _, text := range []string{
		"", "a", `\x20`, `\x5cx20`, `\\x41`, `\x`, `\x4`, `\xG1`, "größe", "\xff\x00", `a\x2Fb`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		mangled := mangle(text)
		if got := unmangle(mangled); got != text {
			t.Fatalf("unmangle(%q): got %q, want %q", mangled, got, text)
		}
		for i := 0; i < len(mangled); i++ {
			if c := mangled[i]; !plain(c) && c != '\\' {
				t.Fatalf("mangle(%q): got %q, want it without %q", text, mangled, c)
			}
		}
		once := unmangle(text)
		if again := unmangle(mangle(once)); again != once {
			t.Fatalf("mangle and unmangle of %q: got %q", once, again)
		}
		if len(once) > len(text) {
			t.Fatalf("unmangle(%q): got the longer text %q", text, once)
		}
	})
}
