package command

import (
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/commandline"
	"thinctl/internal/cli/exit"
	"thinctl/units"
)

// Texts returns the values of a flag made by StringsFlag.
func (c *Call) Texts(name string) []string { return *c.Flags.Generic(name).(*commandline.Texts) }

// NoTruncFlag returns --no-trunc.
func NoTruncFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-trunc", Usage: "print ids and texts in full"}
}

// QuietFlag returns --quiet.
func QuietFlag(usage string) cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: usage}
}

// DryRunFlag returns --dry-run.
func DryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "print what would be done, change nothing"}
}

// YesFlag returns --yes.
func YesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask for confirmation"}
}

// SizeFlag returns the size in a flag, 0 if the flag was not given.
func (c *Call) SizeFlag(name string) (units.Bytes, error) {
	if !c.Flags.IsSet(name) {
		return 0, nil
	}
	size, err := units.Parse(c.Flags.String(name))
	if err != nil {
		return 0, &exit.UsageError{Why: "--" + name + ": " + err.Error()}
	}
	if size == 0 {
		return 0, &exit.UsageError{Why: "--" + name + " 0: a size must be above zero",
			Remedy: "leave it out to use the default"}
	}
	return size, nil
}

// Growth is a new size: a total, or an amount to add.
type Growth struct {
	Size units.Bytes
	More bool
}

// ParseGrowth parses "20G", a total, or "+5G", an amount to add.
func ParseGrowth(text string) (Growth, error) {
	rest, more := strings.CutPrefix(text, "+")
	size, err := units.Parse(rest)
	if err != nil {
		return Growth{}, &exit.UsageError{Why: err.Error()}
	}
	if size == 0 {
		return Growth{}, &exit.UsageError{Why: "size " + text + ": must be above zero",
			Remedy: "use a total such as 20G, or +5G to add that much"}
	}
	return Growth{Size: size, More: more}, nil
}
