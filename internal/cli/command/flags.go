package command

import (
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/commandline"
	"thinctl/internal/cli/exit"
	"thinctl/units"
)

func (c *Call) Texts(name string) []string { return *c.Flags.Generic(name).(*commandline.Texts) }

func NoTruncFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-trunc", Usage: "print ids and texts in full"}
}

func QuietFlag(usage string) cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: usage}
}

func DryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "print what would be done, change nothing"}
}

func YesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask for confirmation"}
}

// SizeFlag reads a size; 0 where the flag was not given.
func (c *Call) SizeFlag(name string) (units.Bytes, error) {
	if !c.Flags.IsSet(name) {
		return 0, nil
	}
	size, err := units.Parse(c.Flags.String(name))
	if err != nil {
		return 0, &exit.UsageError{Why: "--" + name + ": " + err.Error()}
	}
	if size == 0 {
		return 0, &exit.UsageError{Why: "--" + name + " 0: a size must be above zero", Remedy: "leave it out to use the default"}
	}
	return size, nil
}

// Growth is a size that was asked for: a total, or so much more.
type Growth struct {
	Size units.Bytes
	More bool
}

// ParseGrowth reads "20G", or "+5G" for that much more.
func ParseGrowth(text string) (Growth, error) {
	rest, more := strings.CutPrefix(text, "+")
	size, err := units.Parse(rest)
	if err != nil {
		return Growth{}, &exit.UsageError{Why: err.Error()}
	}
	if size == 0 {
		return Growth{}, &exit.UsageError{Why: "size " + text + ": must be above zero", Remedy: "use a total such as 20G, or +5G to add that much"}
	}
	return Growth{Size: size, More: more}, nil
}
