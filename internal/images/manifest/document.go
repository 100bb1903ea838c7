package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// Document is a JSON object whose members keep their order and their bytes. An edit
// changes only the given members. As in encoding/json, the comparison of names ignores
// case, and the last of several members with the same name counts.
type Document struct {
	members []member
	isMap   bool // the comparison of names respects case
}

type member struct {
	name  string
	value json.RawMessage
}

var errNoObject = errors.New("not a JSON object")

// ParseDocument parses a JSON object.
func ParseDocument(raw []byte) (*Document, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.Join(errNoObject, err)
	}
	d := &Document{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var m member
		if err := decoder.Decode(&m.value); err != nil {
			return nil, err
		}
		m.name, _ = name.(string) // it is a string, since the JSON is valid
		d.members = append(d.members, m)
	}
	return d, nil
}

func (d *Document) is(name string) func(member) bool {
	return func(m member) bool { return m.name == name || !d.isMap && strings.EqualFold(m.name, name) }
}

// Get returns the value of a member.
func (d *Document) Get(name string) (json.RawMessage, bool) {
	is := d.is(name)
	for _, m := range slices.Backward(d.members) {
		if is(m) {
			return m.value, true
		}
	}
	return nil, false
}

// Set replaces the value of a member, or appends the member.
func (d *Document) Set(name string, value json.RawMessage) {
	is := d.is(name)
	at := slices.IndexFunc(d.members, is)
	if at < 0 {
		d.members = append(d.members, member{name, value})
		return
	}
	d.members[at].value = value
	d.members = append(d.members[:at+1], slices.DeleteFunc(d.members[at+1:], is)...)
}

// Delete removes a member.
func (d *Document) Delete(name string) { d.members = slices.DeleteFunc(d.members, d.is(name)) }

// Marshal returns the document as JSON. The values are not reformatted.
func (d *Document) Marshal() (json.RawMessage, error) {
	out := []byte{'{'}
	for i, m := range d.members {
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), m.value...)
	}
	return append(out, '}'), nil
}

// Patch applies the difference between two values that encoding/json writes as objects.
// Members that are equal in both keep their bytes, and so do members that neither has.
func (d *Document) Patch(before, after any) error {
	was, err := documentOf(before)
	if err != nil {
		return err
	}
	is, err := documentOf(after)
	if err != nil {
		return err
	}
	return d.patch(was, is)
}

func documentOf(value any) (*Document, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return ParseDocument(raw)
}

func (d *Document) patch(was, is *Document) error {
	for _, m := range was.members {
		if _, stays := is.Get(m.name); !stays {
			d.Delete(m.name)
		}
	}
	for _, m := range is.members {
		old, _ := was.Get(m.name)
		if bytes.Equal(old, m.value) {
			continue
		}
		value, err := d.patched(m, old)
		if err != nil {
			return err
		}
		d.Set(m.name, value)
	}
	return nil
}

// patched returns the new value of a member. Maps, such as labels, are patched
// in turn.
func (d *Document) patched(changed member, old json.RawMessage) (json.RawMessage, error) {
	raw, _ := d.Get(changed.name)
	inner, hereErr := ParseDocument(raw)
	was, wasErr := ParseDocument(old)
	is, isErr := ParseDocument(changed.value)
	if hereErr != nil || wasErr != nil || isErr != nil {
		return changed.value, nil
	}
	for _, each := range []*Document{inner, was, is} {
		each.isMap = true
	}
	if err := inner.patch(was, is); err != nil {
		return nil, err
	}
	return inner.Marshal()
}
