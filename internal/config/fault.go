package config

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid: the configuration cannot be meant. Load.
var ErrInvalid = errors.New("the configuration is not valid")

// Origin says where a value was taken from.
type Origin struct {
	Name string // a file, a variable, a flag, or "default"
	Line int    // of the file
}

func (o Origin) String() string {
	if o.Line > 0 {
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	}
	return o.Name
}

// Fault is one thing that cannot be meant.
type Fault struct {
	Origin Origin
	Key    string // "" where the file as a whole is meant
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

// Faults are all that were found, in the order of the file. It answers to
// ErrInvalid.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap yields the sentinel.
func (f Faults) Unwrap() error { return ErrInvalid }

// wrong is what a value's reader says of it.
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
