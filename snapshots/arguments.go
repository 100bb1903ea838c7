package snapshots

import (
	"fmt"
	"strings"
	"unicode/utf8"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
)

const (
	// maxName is far more than containerd uses for a key, and less than the database
	// accepts.
	maxName = 16 << 10
	// maxLabel is containerd's own limit for a label's key and value together
	// (pkg/labels/validate.go).
	maxLabel = 4096
	// maxLabels bounds the size of one record in the database.
	maxLabels = 256 << 10
)

func checkName(op, what, name string) error {
	switch {
	case name == "":
		return refused(op, name, fault.Invalid, "the "+what+" is empty")
	case len(name) > maxName:
		return refused(
			op,
			name,
			fault.Invalid,
			fmt.Sprintf("the %s has %d bytes, at most %d are allowed", what, len(name), maxName),
		)
	case !utf8.ValidString(name):
		return refused(op, name, fault.Invalid, "the "+what+" is not UTF-8")
	}
	return nil
}

// applied returns what options set: the labels, and the parent of a commit.
func applied(op, name string, opts []core.Opt) (core.Info, error) {
	var info core.Info
	for _, opt := range opts {
		if err := opt(&info); err != nil {
			return info, &Error{
				Op:     op,
				Object: "snapshot " + quoted(name),
				Kind:   fault.Invalid,
				Detail: "an option",
				Err:    err,
			}
		}
	}
	return info, checkLabels(op, name, info.Labels)
}

func checkLabels(op, name string, labels map[string]string) error {
	all := 0
	for key, value := range labels {
		size := len(key) + len(value)
		all += size
		switch {
		case key == "":
			return refused(op, name, fault.Invalid, "a label has no key")
		case size > maxLabel:
			return refused(
				op,
				name,
				fault.Invalid,
				fmt.Sprintf(
					"label %s has %d bytes with its value, at most %d are allowed",
					quoted(key),
					size,
					maxLabel,
				),
			)
		case !utf8.ValidString(key) || !utf8.ValidString(value):
			return refused(op, name, fault.Invalid, "label "+quoted(key)+" is not UTF-8")
		}
	}
	if all > maxLabels {
		return refused(
			op,
			name,
			fault.Invalid,
			fmt.Sprintf("its labels have %d bytes, at most %d are allowed", all, maxLabels),
		)
	}
	return nil
}

func splitNamespace(key string) (namespace, name string) {
	namespace, name, _ = strings.Cut(key, "/")
	return namespace, name
}
