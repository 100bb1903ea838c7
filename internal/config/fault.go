package config

import (
	"errors"
	"fmt"
	"strings"

	"thinctl/fault"
)

// Origin is the source of a value.
type Origin struct {
	Name string // a file, a variable, a flag, or "default"
	Line int    // in the file
}

func (o Origin) String() string {
	if o.Line > 0 {
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	}
	return o.Name
}

// Fault is one error in the configuration.
type Fault struct {
	Origin Origin
	Key    string // "" for the file as a whole
	What   string
	Remedy string
}

func (f Fault) String() string {
	text := f.Origin.String() + ": "
	if f.Key != "" {
		text += f.Key + ": "
	}
	text += f.What
	if f.Remedy != "" {
		text += "; " + f.Remedy
	}
	return text
}

// Faults holds all errors in the configuration, in the order of the file. Its kind is
// fault.Invalid.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the kind.
func (f Faults) Unwrap() error { return fault.Invalid }

// wrong is the error of a value.
type wrong struct{ what, remedy string }

func (w *wrong) Error() string { return w.what + "; " + w.remedy }

func bad(remedy, format string, args ...any) error {
	return &wrong{what: fmt.Sprintf(format, args...), remedy: remedy}
}

func faultOf(origin Origin, key string, err error) Fault {
	var w *wrong
	if errors.As(err, &w) {
		return Fault{origin, key, w.what, w.remedy}
	}
	return Fault{Origin: origin, Key: key, What: err.Error()}
}
