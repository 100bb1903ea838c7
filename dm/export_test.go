package dm

// Pretend makes c take the kernel's protocol for an older one.
func (c *Control) Pretend(protocol Version) { c.version = protocol }
