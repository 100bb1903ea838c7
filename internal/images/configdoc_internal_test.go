package images

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// unusual has fields that no struct here knows, and history without dates.
const unusual = `{"x-own":{"n":12345678901234567890,"t":"\u003c"},"architecture":"amd64","os":"linux","os.features":["a"],` +
	`"created":"2024-01-01T00:00:00.123456789+01:00","author":"x","container_config":{"Hostname":"h"},` +
	`"config":{"Cmd":["/a"],"StopTimeout":42,"X-Own":{"k":1},"Labels":{"a":"b"},"ExposedPorts":{"80/tcp":{"q":1}},"Env":null,` +
	`"Healthcheck":{"Test":["CMD","true"],"StartInterval":500000000,"StartPeriod":1000000000}},` +
	`"history":[{"created_by":"no created here","empty_layer":false,"x":[1]},{"created":"2024-01-01T00:00:00Z"}],` +
	`"rootfs":{"type":"layers","y":1,"diff_ids":["sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"]}}`

func decoded(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value map[string]any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return value
}

func TestCommittedKeepsTheConfig(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	step := v1.History{Created: v1.Time{Time: at}, Author: "me", Comment: "mine"}
	for _, c := range []struct {
		name   string
		edits  edits
		config map[string]any // members that change
	}{
		{"no edits", nil, nil},
		{"edits", edits{"CMD [\"/b\"]", "LABEL c=d", "EXPOSE 81", "USER u"}, map[string]any{
			"Cmd": []any{"/b"}, "User": "u", "Labels": map[string]any{"a": "b", "c": "d"},
			"ExposedPorts": map[string]any{"80/tcp": map[string]any{"q": json.Number("1")}, "81/tcp": map[string]any{}},
		}},
	} {
		raw, err := committed([]byte(unusual), step, c.edits)
		if err != nil {
			t.Fatal(err)
		}
		again, err := committed([]byte(unusual), step, c.edits)
		if err != nil || !bytes.Equal(raw, again) {
			t.Errorf("%s: the same commit again: got %s, %v; want %s", c.name, again, err, raw)
		}
		raw, err = withDiffIDs(raw, []string{"sha256:1", "sha256:2"})
		if err != nil {
			t.Fatal(err)
		}
		want := decoded(t, []byte(unusual))
		want["created"], want["author"] = "2026-01-02T03:04:05Z", "me"
		want["history"] = append(want["history"].([]any), map[string]any{"created": "2026-01-02T03:04:05Z", "author": "me", "comment": "mine"})
		want["rootfs"].(map[string]any)["diff_ids"] = []any{"sha256:1", "sha256:2"}
		for name, value := range c.config {
			want["config"].(map[string]any)[name] = value
		}
		if got := decoded(t, raw); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%v, want\n%v", c.name, got, want)
		}
	}
	raw, err := committed([]byte(unusual), v1.History{Created: step.Created}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, has := decoded(t, raw)["author"]; has {
		t.Errorf("author: got the parent's, want none: %s", raw)
	}
}

// A config without members gets only the members of the commit.
func TestCommittedOverLittle(t *testing.T) {
	for _, raw := range []string{`{}`, `{"config":null,"history":null,"rootfs":null}`, `{"config":"?","history":{},"rootfs":{}}`} {
		got, err := committed([]byte(raw), v1.History{}, edits{"USER u"})
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		value := decoded(t, got)
		if config, _ := value["config"].(map[string]any); config["User"] != "u" || len(config) != 1 {
			t.Errorf("%s: got config %v", raw, value["config"])
		}
		if history, _ := value["history"].([]any); len(history) != 1 {
			t.Errorf("%s: got history %v", raw, value["history"])
		}
		if !reflect.DeepEqual(value["rootfs"], map[string]any{"type": "layers"}) {
			t.Errorf("%s: got rootfs %v", raw, value["rootfs"])
		}
	}
}

func TestRawConfig(t *testing.T) {
	for raw, want := range map[string]string{
		unusual:           `{"Cmd":["/a"],"StopTimeout":42,`,
		`{}`:              `{}`,
		`{"config":null}`: `{}`,
		`{"Config":{}}`:   `{}`,
	} {
		if got := (Image{Raw: []byte(raw)}).RawConfig(); !bytes.HasPrefix(got, []byte(want)) {
			t.Errorf("%.30s: got %s, want %s", raw, got, want)
		}
	}
}
