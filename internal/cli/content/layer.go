package content

import (
	"strings"

	"thinctl/internal/cli/command"
)

const InitSuffix = "-init"

// LayerName is a layer's id, or an init's name, as it is shown.
func LayerName(c *command.Call, id string) string {
	if init, is := strings.CutSuffix(id, InitSuffix); is && len(init) == 64 {
		return c.Digits(init) + InitSuffix
	} else if is {
		return id // over an empty file system
	}
	return c.Digits(id)
}
