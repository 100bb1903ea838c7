// Package fault is the shape that the errors of all packages have: what was
// tried, on what, why it failed and what to do about it. A package's own Error is
// a type of this one, so that errors.As tells whose it is, and its Kinds are the
// package's own sentinels.
package fault

// Error is one failure. All of its parts but Op and Object may be missing.
type Error struct {
	Op     string // "create", "extend", ...; "" where whoever called will say
	Object string // "pool vault", "snapshot web", a path
	Part   string // the entry or blob inside of it
	Kind   error  // one of the package's sentinels
	Detail string // what was found
	Err    error  // what the layer below said
	Remedy string // what to do next
}

// Error returns the parts in that order.
func (e *Error) Error() string {
	text := ""
	say := func(part string) {
		if text != "" && part != "" {
			text += ": "
		}
		text += part
	}
	if e.Op != "" {
		say(e.Op + " " + e.Object)
	}
	say(e.Part)
	if e.Kind != nil {
		say(e.Kind.Error())
	}
	say(e.Detail)
	if e.Err != nil {
		say(e.Err.Error())
	}
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Unwrap yields the sentinel and the cause.
func (e *Error) Unwrap() []error {
	var wrapped []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			wrapped = append(wrapped, err)
		}
	}
	return wrapped
}
