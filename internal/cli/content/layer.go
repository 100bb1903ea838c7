package content

import (
	"strings"

	"thinctl/internal/cli/command"
)

// InitSuffix ends the name of an init layer, after the id of its layer.
const InitSuffix = "-init"

// LayerName returns the printed form of the id of a layer or init layer.
func LayerName(c *command.Call, id string) string {
	if init, is := strings.CutSuffix(id, InitSuffix); is && len(init) == 64 {
		return c.Digits(init) + InitSuffix
	} else if is {
		return id // the init layer of an empty file system
	}
	return c.Digits(id)
}
