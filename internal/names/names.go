// Package names has the rules for the names that users give, and makes random ones.
package names

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
)

// Rule describes a kind of name: ASCII letters, digits and a few other characters, with
// a letter or digit first.
type Rule struct {
	shortest, longest int // in bytes
	others            string
}

// The rules. Those of pools and volumes allow what LVM and device mapper allow, within
// the 127 bytes of a device's name (dm-ioctl.h, DM_NAME_LEN). That of containers is
// Docker's names.RestrictedNamePattern.
var (
	Pool      = Rule{1, 32, "-_.+:@="}
	Volume    = Rule{1, 96, "-_.+:@="}
	Container = Rule{2, 128, "_.-"}
	Namespace = Rule{1, 64, "._-"}
)

// Check returns an error that says how a name breaks the rule, or nil.
func (r Rule) Check(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("it is empty")
	case len(name) < r.shortest:
		return fmt.Errorf("it has %d characters, at least %d are needed", len(name), r.shortest)
	case len(name) > r.longest:
		return fmt.Errorf("it has %d characters, at most %d are allowed", len(name), r.longest)
	}
	for i, c := range []byte(name) {
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && (i == 0 || strings.IndexByte(r.others, c) < 0) {
			others := strings.Join(strings.Split(r.others, ""), " ")
			return fmt.Errorf("use letters, digits and %s, with a letter or digit first", others)
		}
	}
	return nil
}

// Random returns a random name of hex digits. Their number is even.
func Random(digits int) string {
	b := make([]byte, digits/2)
	rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
