package commandline

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// StringsFlag returns a flag that may be repeated. The slice flag of urfave/cli splits a value at
// commas, which Dockerfile instructions have.
func StringsFlag(name, alias, usage string) cli.Flag {
	flag := &cli.GenericFlag{Name: name, Value: new(Texts), Usage: usage}
	if alias != "" {
		flag.Aliases = []string{alias}
	}
	return flag
}

// Texts are the values of a flag made by StringsFlag.
type Texts []string

// copied is the value that urfave/cli sets for the aliases of a flag, which share one value.
const copied = "\x00"

// Set implements [flag.Value].
func (t *Texts) Set(text string) error {
	if text != copied {
		*t = append(*t, text)
	}
	return nil
}

// Serialize implements [cli.Serializer].
func (t *Texts) Serialize() string { return copied }

// String implements [flag.Value].
func (t *Texts) String() string { return strings.Join(*t, ", ") }
