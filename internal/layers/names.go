package layers

import (
	"fmt"
	"strings"

	"thinctl/fault"
	"thinctl/internal/names"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

const idDigits = 64

// shortID is the number of digits of an id that messages show.
const shortID = 12

func isID(text string) bool { return len(text) == idDigits && isHex(text) }

func isHex(text string) bool {
	return strings.Trim(text, "0123456789abcdef") == ""
}

func short(id string) string {
	if len(id) == idDigits && isHex(id) {
		return id[:shortID]
	}
	return id
}

// LayerVolumes names the volumes that go with a layer: its own, and its init's,
// which need not be there.
func LayerVolumes(id string) []string { return []string{layerVolume(id), initVolume(id)} }

// LayerVolume returns the name of a layer's volume.
func LayerVolume(id string) string { return layerVolume(id) }

// InitVolume returns the name of an init's volume.
func InitVolume(key string) string { return initVolume(key) }

// ContainerVolume returns the name of a container's volume.
func ContainerVolume(id string) string { return containerVolume(id) }

func layerVolume(id string) string     { return "layer-" + id }
func containerVolume(id string) string { return "container-" + id }
func initVolume(key string) string     { return "init-" + key }

// emptyKey is the key of the init over an empty file system.
func emptyKey(fs filesystem.Type, size units.Bytes) string {
	return fmt.Sprintf("%s-%d", fs, uint64(size))
}

func checkContainerName(name string) error {
	if err := names.Container.Check(name); err != nil {
		return &Error{Op: "create", Object: fmt.Sprintf("container %q", name), Kind: fault.Invalid, Detail: err.Error()}
	}
	return nil
}
