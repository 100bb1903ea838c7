package filesystem

import (
	"encoding/hex"
	"fmt"
	"strings"

	"thinctl/fault"
)

// UUID is the UUID of a file system. The zero value is none.
type UUID [16]byte

// IsZero reports whether u is the zero value.
func (u UUID) IsZero() bool { return u == UUID{} }

func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// ParseUUID parses the usual form of 36 characters.
func ParseUUID(text string) (UUID, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	var u UUID
	if err != nil || copy(u[:], b) != len(u) || len(b) != len(u) || u.String() != strings.ToLower(text) {
		return UUID{}, fmt.Errorf("uuid %q: %w: write it as 123e4567-e89b-12d3-a456-426614174000", text, fault.Invalid)
	}
	return u, nil
}
