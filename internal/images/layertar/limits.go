package layertar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"thinctl/internal/images/compression"
	"thinctl/units"
)

// Limits are the limits for a layer. A field with 0 has the default.
type Limits struct {
	Entries int         // number of entries, default 10 million
	Bytes   units.Bytes // size of the uncompressed tar, and of all files together, default 1 TiB
	Header  units.Bytes // headers of one entry, default 8 MiB
	Path    int         // bytes in a name or in the target of a link, default 4096
	Kept    units.Bytes // contents that a later entry of the layer replaces or removes, default 10 GiB
	Split   units.Bytes // the compressed split, default 512 MiB
	Window  units.Bytes // memory to uncompress zstd and xz, default 128 MiB
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

// LimitNames returns the names of the limits for Set.
func LimitNames() []string {
	return []string{"bytes", "entries", "header", "kept", "path", "split", "window"}
}

// Set changes a limit by its name. The value is a size, but a number for entries and path.
func (l *Limits) Set(name, value string) error {
	if at := slices.Index([]string{"entries", "path"}, name); at >= 0 {
		n, err := strconv.Atoi(value)
		if err != nil || n <= 0 {
			return fmt.Errorf("limit %s: %q is not a positive number", name, value)
		}
		*[]*int{&l.Entries, &l.Path}[at] = n
		return nil
	}
	into, known := map[string]*units.Bytes{
		"bytes": &l.Bytes, "header": &l.Header, "kept": &l.Kept, "split": &l.Split, "window": &l.Window,
	}[name]
	if !known {
		return fmt.Errorf("unknown limit %q: use %s", name, strings.Join(LimitNames(), ", "))
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

// LimitError is the error for a layer over a limit, with the name of the limit for
// Limits.Set.
type LimitError struct {
	Name string
	Why  error
}

func (e *LimitError) Error() string { return fmt.Sprintf("%v: %v", ErrLimit, e.Why) }

// Unwrap returns ErrLimit and the cause.
func (e *LimitError) Unwrap() []error { return []error{ErrLimit, e.Why} }

// overLimit returns the error for a limit, by its name.
func overLimit(name, format string, args ...any) error {
	return &LimitError{Name: name, Why: fmt.Errorf(format, args...)}
}
