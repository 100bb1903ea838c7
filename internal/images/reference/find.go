package reference

import (
	"fmt"
	"strings"
)

// Index is where Find looks.
type Index interface {
	// Named gives the image that has this name.
	Named(Reference) (id string, found bool, err error)
	// WithPrefix gives the ids that begin with these hexadecimal digits; two
	// are enough.
	WithPrefix(digits string) (ids []string, err error)
}

// Find gives the id of the image meant by s: a whole id, a name, or the first
// digits of an id, tried in that order.
func Find(s string, images Index) (string, error) {
	digits, isDigest := strings.CutPrefix(s, "sha256:")
	if IsID(digits) {
		return only(s, digits, images)
	}
	ref, err := Parse(s)
	if err != nil && (!isDigest || !isHex(digits)) {
		return "", err
	}
	if err == nil {
		if id, found, err := images.Named(ref); found || err != nil {
			return id, err
		}
	}
	if isHex(digits) {
		return only(s, digits, images)
	}
	return "", &Error{Given: s, Kind: ErrNotFound, Detail: "none is named " + ref.Familiar()}
}

func only(s, digits string, images Index) (string, error) {
	ids, err := images.WithPrefix(digits)
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", &Error{Given: s, Kind: ErrNotFound, Detail: "it is neither a name nor the beginning of an id"}
	case len(ids) > 1:
		return "", &Error{
			Given: s, Kind: errAmbiguous,
			Detail: fmt.Sprintf("the ids %s and %s begin so", short(ids[0], len(digits)), short(ids[1], len(digits))),
			Remedy: "give more digits",
		}
	}
	return ids[0], nil
}

// short is as much of an id as is printed: 12 digits, or a few more than were
// given.
func short(id string, given int) string {
	return id[:min(len(id), max(12, given+4))]
}
