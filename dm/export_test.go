package dm

// Pretend makes c take the kernel's protocol for an older one.
func (c *Control) Pretend(protocol Version) { c.version = protocol }

// NodeDev returns the device that a node leads to.
func NodeDev(path string) (Dev, error) { return blockDev(path) }
