package manifest

import (
	"encoding/json"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/fault"
)

// ParseConfig parses an image's config. Layers and platform must be valid. It leaves out
// any other field that cannot be parsed, with a warning; the raw config keeps the field.
func ParseConfig(raw []byte, warn fault.Warn) (*v1.ConfigFile, error) {
	config, err := decodeConfig(raw, warn)
	if err != nil {
		return nil, &Error{Kind: ErrFormat, Detail: "not an image config", Err: err}
	}
	if t := config.RootFS.Type; t != "" && t != "layers" {
		return nil, Errorf(ErrFormat, "the config's root file system is of type %q instead of layers", t)
	}
	if config.OS != "" && !strings.EqualFold(config.OS, "linux") {
		return nil, Errorf(ErrPlatform, "the image is for %s; only Linux images can be used", config.Platform())
	}
	for i, id := range config.RootFS.DiffIDs {
		if id.Algorithm != "sha256" {
			return nil, Errorf(ErrFormat, "diff id %d is not a sha256 digest", i+1)
		}
	}
	return config, nil
}

func decodeConfig(raw []byte, warn fault.Warn) (*v1.ConfigFile, error) {
	config := &v1.ConfigFile{}
	strict := json.Unmarshal(raw, config)
	if strict == nil {
		return config, nil
	}
	doc, err := ParseDocument(raw)
	if err != nil {
		return nil, strict
	}
	*config = v1.ConfigFile{}
	for _, m := range doc.members {
		switch strings.ToLower(m.name) {
		case "rootfs", "os", "architecture", "variant":
			if err := m.decode(config); err != nil {
				return nil, err
			}
		case "config":
			decodeMembers(m, &config.Config, warn)
		case "history":
			decodeHistory(m, config, warn)
		default:
			m.decodeLenient("", config, warn)
		}
	}
	return config, nil
}

// decode parses the member into the field of that name.
func (m member) decode(into any) error {
	raw, err := (&Document{members: []member{m}}).Marshal()
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// decodeLenient parses the member like decode, but leaves out a field that cannot be
// parsed. It accepts a string for a list with one element, as Docker does for Cmd and
// Entrypoint.
func (m member) decodeLenient(within string, into any, warn fault.Warn) {
	err := m.decode(into)
	if err == nil {
		return
	}
	if strings.HasPrefix(string(m.value), `"`) {
		list := member{m.name, json.RawMessage("[" + string(m.value) + "]")}
		if list.decode(into) == nil {
			return
		}
	}
	warn.Add("config", "the field %q was ignored: %v", within+m.name, err)
}

func decodeMembers(m member, into any, warn fault.Warn) {
	if string(m.value) == "null" {
		return
	}
	doc, err := ParseDocument(m.value)
	if err != nil {
		warn.Add("config", "the field %q was ignored: %v", m.name, err)
		return
	}
	for _, each := range doc.members {
		each.decodeLenient(m.name+".", into, warn)
	}
}

func decodeHistory(m member, config *v1.ConfigFile, warn fault.Warn) {
	var steps []json.RawMessage
	if err := json.Unmarshal(m.value, &steps); err != nil {
		warn.Add("config", "the field %q was ignored: %v", m.name, err)
		return
	}
	config.History = make([]v1.History, len(steps))
	for i, step := range steps {
		decodeMembers(member{m.name, step}, &config.History[i], warn)
	}
}

// CheckCount returns an error if a config has another number of layers than the manifest.
func CheckCount(layers int, config *v1.ConfigFile) error {
	if ids := len(config.RootFS.DiffIDs); ids != layers {
		return Errorf(ErrFormat, "the config has %d diff ids for %d layers", ids, layers)
	}
	return nil
}
