package fault

import "fmt"

// Warning is a property of some input that is unusual but was accepted.
type Warning struct {
	Object string // the input as a whole: "busybox.tar", "image web:1"
	Part   string // the entry, layer or blob inside of it
	Detail string // what is unusual, and how it was read
}

// String returns the parts in that order.
func (w Warning) String() string {
	text := ""
	for _, part := range []string{w.Object, w.Part, w.Detail} {
		if text != "" && part != "" {
			text += ": "
		}
		text += part
	}
	return text
}

// Warn receives warnings, from several goroutines at once. A nil Warn drops
// them. Input of any size may cause any number of warnings: the receiver bounds
// what it keeps.
type Warn func(Warning)

// Add passes on a warning about a part of the input.
func (w Warn) Add(part, detail string, arguments ...any) {
	if w != nil {
		w(Warning{Part: part, Detail: fmt.Sprintf(detail, arguments...)})
	}
}

// In returns a Warn that completes each warning: with the object that it lacks,
// and with an outer part before its own.
func (w Warn) In(object, part string) Warn {
	if w == nil {
		return nil
	}
	return func(one Warning) {
		if one.Object == "" {
			one.Object = object
		}
		switch {
		case one.Part == "":
			one.Part = part
		case part != "":
			one.Part = part + ": " + one.Part
		}
		w(one)
	}
}
