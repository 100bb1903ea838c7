package layertar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"thinctl/internal/images/compression"
	"thinctl/units"
)

// Limits bound what a layer may bring; a zero is the default.
type Limits struct {
	Entries int         // 10 million
	Bytes   units.Bytes // 1 TiB: of the uncompressed tar, and again of the files' sizes
	Header  units.Bytes // 8 MiB: one entry's headers
	Path    int         // 4096 bytes in a name or in a link's target
	Kept    units.Bytes // 10 GiB: contents that a later entry of the layer replaces or removes
	Split   units.Bytes // 512 MiB: the split, compressed
	Window  units.Bytes // 128 MiB: the memory for uncompressing (zstd, xz)
}

func (l Limits) orDefaults() Limits {
	if l.Entries == 0 {
		l.Entries = 10_000_000
	}
	if l.Bytes == 0 {
		l.Bytes = units.TiB
	}
	if l.Header == 0 {
		l.Header = 8 * units.MiB
	}
	if l.Path == 0 {
		l.Path = 4096
	}
	if l.Kept == 0 {
		l.Kept = 10 * units.GiB
	}
	if l.Split == 0 {
		l.Split = 512 * units.MiB
	}
	if l.Window == 0 {
		l.Window = compression.DefaultWindow
	}
	return l
}

// LimitNames returns the names of the limits that Set takes.
func LimitNames() []string {
	return []string{"bytes", "entries", "header", "kept", "path", "split", "window"}
}

// Set changes the limit of a name: to a size or, of entries and path, a number.
func (l *Limits) Set(name, value string) error {
	if at := slices.Index([]string{"entries", "path"}, name); at >= 0 {
		n, err := strconv.Atoi(value)
		if err != nil || n <= 0 {
			return fmt.Errorf("limit %s: %q is not a positive number", name, value)
		}
		*[]*int{&l.Entries, &l.Path}[at] = n
		return nil
	}
	into, known := map[string]*units.Bytes{"bytes": &l.Bytes, "header": &l.Header, "kept": &l.Kept, "split": &l.Split, "window": &l.Window}[name]
	if !known {
		return fmt.Errorf("limit %q is not known: use %s", name, strings.Join(LimitNames(), ", "))
	}
	size, err := units.Parse(value)
	if err == nil && size == 0 {
		err = fmt.Errorf("%q is not a positive size", value)
	}
	if err != nil {
		return fmt.Errorf("limit %s: %w", name, err)
	}
	*into = size
	return nil
}

// LimitError is an ErrLimit with the name of the limit in Limits.Set.
type LimitError struct {
	Name string
	Why  error
}

func (e *LimitError) Error() string { return fmt.Sprintf("%v: %v", ErrLimit, e.Why) }

// Unwrap returns ErrLimit and the cause.
func (e *LimitError) Unwrap() []error { return []error{ErrLimit, e.Why} }

// over is the error of the limit of a name.
func over(name, format string, args ...any) error {
	return &LimitError{Name: name, Why: fmt.Errorf(format, args...)}
}
