package images

import (
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images/manifest"
)

// RawConfig returns the part of the config with which containers are started, byte for
// byte.
func (i Image) RawConfig() json.RawMessage {
	if doc, err := manifest.ParseDocument(i.Raw); err == nil {
		if raw, found := doc.Get("config"); found && string(raw) != "null" {
			return raw
		}
	}
	return json.RawMessage("{}")
}

// committed returns the config of an image whose parent has the config raw. It does not
// have the diff ids of the layers. Members that the commit does not change keep their
// bytes, and absent dates stay absent.
func committed(raw []byte, step v1.History, edits edits) ([]byte, error) {
	doc, err := manifest.ParseDocument(raw)
	if err != nil {
		return nil, err
	}
	before, err := manifest.ParseConfig(raw, nil)
	if err != nil {
		return nil, err
	}
	after := before.DeepCopy()
	if err := edits.apply(&after.Config); err != nil {
		return nil, err
	}
	if err := patchMember(doc, "config", before.Config, after.Config); err != nil {
		return nil, err
	}
	if err := set(doc, "created", step.Created); err != nil {
		return nil, err
	}
	doc.Delete("author") // the parent's
	if step.Author != "" {
		if err := set(doc, "author", step.Author); err != nil {
			return nil, err
		}
	}
	if err := appendStep(doc, step); err != nil {
		return nil, err
	}
	root := inner(doc, "rootfs")
	root.Delete("diff_ids")
	if err := set(root, "type", "layers"); err != nil {
		return nil, err
	}
	if err := set(doc, "rootfs", root); err != nil {
		return nil, err
	}
	return doc.Marshal()
}

// withDiffIDs adds the layers' diff ids to a committed image's config.
func withDiffIDs(raw []byte, diffs []string) ([]byte, error) {
	doc, err := manifest.ParseDocument(raw)
	if err != nil {
		return nil, err
	}
	root := inner(doc, "rootfs")
	if err := set(root, "diff_ids", append([]string{}, diffs...)); err != nil {
		return nil, err
	}
	if err := set(doc, "rootfs", root); err != nil {
		return nil, err
	}
	return doc.Marshal()
}

// set writes a member of a document.
func set(doc *manifest.Document, name string, value any) error {
	raw, err := json.Marshal(value)
	if inner, ok := value.(*manifest.Document); ok {
		raw, err = inner.Marshal() // json.Marshal would reformat it
	}
	if err != nil {
		return fmt.Errorf("write the config: %w", err)
	}
	doc.Set(name, raw)
	return nil
}

// inner returns the member of that name as a document, or an empty one.
func inner(doc *manifest.Document, name string) *manifest.Document {
	raw, _ := doc.Get(name)
	if found, err := manifest.ParseDocument(raw); err == nil {
		return found
	}
	return &manifest.Document{}
}

func patchMember(doc *manifest.Document, name string, before, after any) error {
	part := inner(doc, name)
	if err := part.Patch(before, after); err != nil {
		return err
	}
	return set(doc, name, part)
}

// appendStep adds a step to the history. The other steps keep their bytes.
func appendStep(doc *manifest.Document, step v1.History) error {
	added, err := json.Marshal(step)
	if err != nil {
		return err
	}
	raw, _ := doc.Get("history")
	var steps []json.RawMessage
	_ = json.Unmarshal(raw, &steps) // if it is not a list, a new one begins
	history := []byte{'['}
	for _, each := range append(steps, added) {
		if len(history) > 1 {
			history = append(history, ',')
		}
		history = append(history, each...)
	}
	doc.Set("history", append(history, ']'))
	return nil
}
