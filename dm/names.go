package dm

import (
	"fmt"
	"strings"

	"thinctl/blockdev"
)

// Limits of include/uapi/linux/dm-ioctl.h, without the closing NUL.
const (
	maxNameLen = 127
	maxUUIDLen = 128
)

// Name is a device's name as people write it. The kernel holds its mangled
// form: characters that udev would refuse in a file name are written \xNN, as
// libdevmapper does, so that dmsetup shows the same name.
type Name string

// UUID is a device's persistent identity; it is mangled as names are.
type UUID string

// NewName checks that text can be a device's name: not empty, no slash, no
// control character, and within the kernel's 127 bytes once mangled.
func NewName(text string) (Name, error) {
	if text == "" {
		return "", fmt.Errorf("device name is empty")
	}
	if text == "." || text == ".." {
		return "", fmt.Errorf("device name %q names a directory", text)
	}
	if strings.Contains(text, "/") {
		return "", fmt.Errorf("device name %q contains a slash", text)
	}
	if err := checkIdentity("device name", text, maxNameLen); err != nil {
		return "", err
	}
	return Name(text), nil
}

// NewUUID checks that text can be a device's uuid; the empty text means none.
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
		return fmt.Errorf("%s %q takes %d bytes, the kernel's limit is %d: shorten it", what, text, n, limit)
	}
	return nil
}

// plain tells the characters that libdevmapper leaves alone
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

// Node returns the path of the device's node: /dev/mapper and the mangled name.
func (n Name) Node() string { return "/dev/mapper/" + mangle(string(n)) }

// ownDir holds the nodes that udev has no part in.
const ownDir = "/dev/thinctl"

// OwnNode returns the path of the node that [Kernel.OwnNode] makes. Udev's links
// under /dev/mapper come late, and go late: the event of a device that is gone may
// take the link of the next one away, whose name or number is the same.
func (n Name) OwnNode() string { return ownDir + "/" + mangle(string(n)) }

// Ref points at one device: by name, uuid or number.
type Ref struct {
	name Name
	uuid UUID
	dev  blockdev.Number
}

// ByName points at the device of that name.
func ByName(name Name) Ref { return Ref{name: name} }

// ByUUID points at the device of that uuid.
func ByUUID(uuid UUID) Ref { return Ref{uuid: uuid} }

// ByDev points at the device of that number.
func ByDev(dev blockdev.Number) Ref { return Ref{dev: dev} }

// Name returns the name in r, empty where r points by uuid or number.
func (r Ref) Name() Name { return r.name }

// UUID returns the uuid in r, empty where r points by name or number.
func (r Ref) UUID() UUID { return r.uuid }

// Dev returns the number in r, zero where r points by name or uuid.
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
