// Package fault is the form of all errors: the operation, its object, the kind of
// the failure, its cause and what to do next. A package has an Error type of its own
// with this form, so that errors.As finds which layer reported the failure.
//
// Kinds are one vocabulary for all packages. Exit codes and gRPC codes are tables
// over [KindOf]; they depend on no order.
package fault

// Error is one failure. Each field but Op and Object may be empty.
type Error struct {
	Op     string // "create", "extend", ...; "" if the caller adds it
	Object string // "pool vault", "snapshot web", a path
	Part   string // the entry or blob inside the object
	Kind   error  // a Kind, or a value made by New
	Detail string // what was found
	Err    error  // the error of the layer below
	Remedy string // what to do next; in a library without a command
	Cure   Cure   // what to do next by a command
}

// Cure is a remedy that needs a command. A library has no commands: it reports its cures
// as values, and a program prints the sentences. [Error.Error] prints no cure.
type Cure interface {
	// IsCure does nothing. It marks the types that are cures.
	IsCure()
}

// Error returns the fields that are set, in their order, without the cure.
func (e *Error) Error() string {
	text := ""
	add := func(part string) {
		if text != "" && part != "" {
			text += ": "
		}
		text += part
	}
	if e.Op != "" {
		add(e.Op + " " + e.Object)
	}
	add(e.Part)
	if e.Kind != nil {
		add(e.Kind.Error())
	}
	add(e.Detail)
	if e.Err != nil {
		add(e.Err.Error())
	}
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	var wrapped []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			wrapped = append(wrapped, err)
		}
	}
	return wrapped
}
