package commandline

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// StringsFlag is a flag that may be given several times. cli's own takes a
// value apart at its commas, which Dockerfile instructions have.
func StringsFlag(name, alias, usage string) cli.Flag {
	flag := &cli.GenericFlag{Name: name, Value: new(Texts), Usage: usage}
	if alias != "" {
		flag.Aliases = []string{alias}
	}
	return flag
}

type Texts []string

// copied is what cli gives to a flag's other names, which have the same value.
const copied = "\x00"

func (t *Texts) Set(text string) error {
	if text != copied {
		*t = append(*t, text)
	}
	return nil
}

// Serialize implements [cli.Serializer].
func (t *Texts) Serialize() string { return copied }

func (t *Texts) String() string { return strings.Join(*t, ", ") }
