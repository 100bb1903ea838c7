package config

import (
	"bytes"
	"errors"

	"github.com/BurntSushi/toml"
)

// entry is a key or table of a file.
type entry struct {
	key   toml.Key
	value any
	table bool
	line  int
}

// readFile returns the keys and tables of a file in their order.
func readFile(raw []byte) ([]entry, error) {
	var values map[string]any
	if _, err := toml.Decode(string(raw), &values); err != nil {
		return nil, err
	}
	var parts map[string]toml.Primitive
	meta, err := toml.Decode(string(raw), &parts)
	if err != nil {
		return nil, err
	}
	lines := map[string]int{}
	locate(&meta, nil, parts, lines)
	var entries []entry
	for _, key := range meta.Keys() {
		value, found := lookUp(values, key)
		if !found {
			continue // below a list of tables, which is an error already
		}
		_, table := value.(map[string]any)
		entries = append(entries, entry{key: key, value: value, table: table, line: lines[key.String()]})
	}
	return entries, nil
}

// locate finds the lines of keys. The library does not return them, but its error for a
// value that cannot be decoded contains the line: so locate decodes each value into a type
// that rejects it.
func locate(meta *toml.MetaData, above toml.Key, parts map[string]toml.Primitive, lines map[string]int) {
	for name, part := range parts {
		key := append(above[:len(above):len(above)], name)
		var parse toml.ParseError
		if err := meta.PrimitiveDecode(part, new(rejecting)); errors.As(err, &parse) {
			lines[key.String()] = parse.Position.Line
		}
		var below map[string]toml.Primitive
		if err := meta.PrimitiveDecode(part, &below); err == nil {
			locate(meta, key, below, lines)
		}
	}
}

type rejecting struct{}

var errRejected = errors.New("rejected")

func (*rejecting) UnmarshalTOML(any) error { return errRejected }

func lookUp(values map[string]any, key toml.Key) (any, bool) {
	var value any = values
	for _, name := range key {
		table, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = table[name]; !ok {
			return nil, false
		}
	}
	return value, true
}

// syntaxFault returns the fault for a file that is not valid TOML. It counts the lines up
// to the error: the library's number is one too high for an error at the end of a line.
func syntaxFault(path string, raw []byte, err error) Fault {
	var parse toml.ParseError
	if errors.As(err, &parse) {
		line := 1 + bytes.Count(raw[:max(0, min(parse.Position.Start, len(raw)))], []byte("\n"))
		at := Origin{Name: path, Line: line}
		return Fault{Origin: at, What: "not valid TOML: " + parse.Message, Remedy: "see https://toml.io"}
	}
	return Fault{Origin: Origin{Name: path}, What: err.Error()}
}
