package manifest_test

import (
	"testing"

	"thinctl/internal/images/manifest"
)

func document(t *testing.T, raw string) *manifest.Document {
	t.Helper()
	d, err := manifest.ParseDocument([]byte(raw))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return d
}

func written(t *testing.T, d *manifest.Document) string {
	t.Helper()
	raw, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestDocument(t *testing.T) {
	// Numbers beyond a float, escapes and unknown members are kept.
	const raw = `{"z":12345678901234567890,"a":"\u003cb\u00e4 < ","Cmd":[ 1.0, 2 ],"x":{"k" : null}}`
	d := document(t, raw)
	if got := written(t, d); got != raw {
		t.Errorf("written: got %s, want %s", got, raw)
	}
	if got, found := d.Get("cmd"); !found || string(got) != `[ 1.0, 2 ]` {
		t.Errorf("Get(cmd): got %s, %v; want [ 1.0, 2 ]", got, found)
	}
	d.Set("CMD", []byte(`[]`))
	d.Set("new", []byte(`1`))
	d.Delete("Z")
	if got, want := written(t, d), `{"a":"\u003cb\u00e4 < ","Cmd":[],"x":{"k" : null},"new":1}`; got != want {
		t.Errorf("edited: got %s, want %s", got, want)
	}
	d = document(t, `{"a":1,"b":2,"A":3}`)
	if got, _ := d.Get("a"); string(got) != "3" {
		t.Errorf("the last of two: got %s, want 3", got)
	}
	d.Set("a", []byte("4"))
	if got, want := written(t, d), `{"a":4,"b":2}`; got != want {
		t.Errorf("after Set: got %s, want %s", got, want)
	}
	for _, bad := range []string{``, `[]`, `null`, `{`, `{"a":1}x`, `"a"`} {
		if _, err := manifest.ParseDocument([]byte(bad)); err == nil {
			t.Errorf("parse %q: got no error, want one", bad)
		}
	}
}

func TestPatch(t *testing.T) {
	type fields struct {
		Cmd    []string          `json:",omitempty"`
		User   string            `json:",omitempty"`
		Labels map[string]string `json:",omitempty"`
	}
	for _, c := range []struct {
		raw           string
		before, after fields
		want          string
	}{
		{`{"X":1,"Cmd":["a"],"User":null}`, fields{Cmd: []string{"a"}}, fields{Cmd: []string{"a"}}, `{"X":1,"Cmd":["a"],"User":null}`},
		{`{"X":1,"Cmd":["a"]}`, fields{Cmd: []string{"a"}}, fields{Cmd: []string{"b"}, User: "u"}, `{"X":1,"Cmd":["b"],"User":"u"}`},
		{`{"cmd":["a"],"X":1}`, fields{Cmd: []string{"a"}}, fields{}, `{"X":1}`},
		{`{"Labels":{"A":"1","x":{"y":2},"a":"3"}}`, fields{Labels: map[string]string{"A": "1", "a": "3"}},
			fields{Labels: map[string]string{"A": "1", "a": "4", "b": "5"}}, `{"Labels":{"A":"1","x":{"y":2},"a":"4","b":"5"}}`},
		{`{"Labels":null}`, fields{}, fields{Labels: map[string]string{"b": "5"}}, `{"Labels":{"b":"5"}}`},
	} {
		d := document(t, c.raw)
		if err := d.Patch(c.before, c.after); err != nil {
			t.Fatal(err)
		}
		if got := written(t, d); got != c.want {
			t.Errorf("%s from %+v to %+v: %s, want %s", c.raw, c.before, c.after, got, c.want)
		}
	}
}
