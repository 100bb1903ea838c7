package dm

import (
	"fmt"
	"strings"

	"thinctl/blockdev"
)

// The limits of include/uapi/linux/dm-ioctl.h, without the terminating NUL.
const (
	maxNameLen = 127
	maxUUIDLen = 128
)

// Name is a device's name as users write it. The kernel stores it in mangled form:
// each character that udev rejects in a file name is written as \xNN. libdevmapper
// does the same, so dmsetup shows the same name.
type Name string

// UUID is a device's persistent identifier. The kernel stores it in mangled form too.
type UUID string

// NewName checks that text is a valid device name: not empty, no slash, no control
// character, and at most 127 bytes in mangled form.
func NewName(text string) (Name, error) {
	if text == "" {
		return "", fmt.Errorf("device name is empty")
	}
	if text == "." || text == ".." {
		return "", fmt.Errorf("device name %q is the name of a directory", text)
	}
	if strings.Contains(text, "/") {
		return "", fmt.Errorf("device name %q contains a slash", text)
	}
	if err := checkIdentity("device name", text, maxNameLen); err != nil {
		return "", err
	}
	return Name(text), nil
}

// NewUUID checks that text is a valid device uuid. An empty text is valid and
// stands for no uuid.
func NewUUID(text string) (UUID, error) {
	if err := checkIdentity("device uuid", text, maxUUIDLen); err != nil {
		return "", err
	}
	return UUID(text), nil
}

func checkIdentity(what, text string, limit int) error {
	for i := 0; i < len(text); i++ {
		if text[i] < 0x20 || text[i] == 0x7f {
			return fmt.Errorf("%s %q contains a control character", what, text)
		}
	}
	if n := len(mangle(text)); n > limit {
		return fmt.Errorf("%s %q takes %d bytes, the kernel's limit is %d", what, text, n, limit)
	}
	return nil
}

// plain reports whether libdevmapper leaves a character as it is
// (libdm-common.c, _is_whitelisted_char).
func plain(c byte) bool {
	switch {
	case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
		return true
	}
	return strings.IndexByte("#+-.:=@_", c) >= 0
}

const hexDigits = "0123456789abcdef"

func mangle(text string) string {
	clean := true
	for i := 0; i < len(text) && clean; i++ {
		clean = plain(text[i])
	}
	if clean {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if c := text[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(`\x`)
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

func unmangle(text string) string {
	if !strings.Contains(text, `\x`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if i+3 < len(text) && text[i] == '\\' && text[i+1] == 'x' {
			high, okHigh := hexValue(text[i+2])
			low, okLow := hexValue(text[i+3])
			if okHigh && okLow {
				b.WriteByte(high<<4 | low)
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

func hexValue(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// Node returns the path of the device's node in /dev/mapper.
func (n Name) Node() string { return "/dev/mapper/" + mangle(string(n)) }

// ownNodeDir is the directory of the nodes that udev does not handle.
const ownNodeDir = "/dev/thinctl"

// OwnNode returns the path of the node that [OwnNodes] makes, in /dev/thinctl. udev
// adds and removes its links in /dev/mapper with a delay. The event of a removed
// device may even remove the link of a later device with the same name or number.
func (n Name) OwnNode() string { return ownNodeDir + "/" + mangle(string(n)) }

// Ref identifies one device by its name, uuid or number.
type Ref struct {
	name Name
	uuid UUID
	dev  blockdev.Number
}

// ByName returns a reference to the device with that name.
func ByName(name Name) Ref { return Ref{name: name} }

// ByUUID returns a reference to the device with that uuid.
func ByUUID(uuid UUID) Ref { return Ref{uuid: uuid} }

// ByDev returns a reference to the device with that number.
func ByDev(dev blockdev.Number) Ref { return Ref{dev: dev} }

// Name returns the name in r, empty if r has a uuid or a number instead.
func (r Ref) Name() Name { return r.name }

// UUID returns the uuid in r, empty if r has a name or a number instead.
func (r Ref) UUID() UUID { return r.uuid }

// Dev returns the number in r, zero if r has a name or a uuid instead.
func (r Ref) Dev() blockdev.Number { return r.dev }

func (r Ref) String() string {
	switch {
	case r.name != "":
		return string(r.name)
	case r.uuid != "":
		return "uuid " + string(r.uuid)
	}
	return r.dev.String()
}
