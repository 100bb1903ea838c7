package reference

import (
	"fmt"
	"strings"
)

// Index looks up images for Find.
type Index interface {
	// Named returns the image with a name.
	Named(Reference) (id string, found bool, err error)
	// WithPrefix returns the ids that begin with the hexadecimal digits, or at least two of
	// them.
	WithPrefix(digits string) (ids []string, err error)
}

// Find returns the id of an image. It takes s for a complete id, a name, or the first
// digits of an id, in this order.
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
	return "", &Error{Given: s, Kind: ErrNotFound, Detail: "no image has the name " + ref.Familiar()}
}

func only(s, digits string, images Index) (string, error) {
	ids, err := images.WithPrefix(digits)
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", &Error{Given: s, Kind: ErrNotFound, Detail: "neither a name nor the beginning of an id"}
	case len(ids) > 1:
		return "", &Error{
			Given: s, Kind: errAmbiguous,
			Detail: fmt.Sprintf("the ids %s and %s begin with it", short(ids[0], len(digits)), short(ids[1], len(digits))),
			Remedy: "use more digits",
		}
	}
	return ids[0], nil
}

// short returns the beginning of an id for output: 12 digits, or a few more than were
// given.
func short(id string, given int) string {
	return id[:min(len(id), max(12, given+4))]
}
