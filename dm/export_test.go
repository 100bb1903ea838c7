package dm

import "thinctl/blockdev"

// Pretend makes c take the kernel's protocol for an older one.
func (c *Control) Pretend(protocol Version) { c.version = protocol }

// NodeDev returns the device that a node leads to.
func NodeDev(path string) (blockdev.Number, error) { return blockDev(path) }
