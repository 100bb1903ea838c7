package dm

import "thinctl/blockdev"

// PretendProtocol makes c use the ioctls of an older protocol.
func (c *Control) PretendProtocol(protocol Version) { c.version = protocol }

// NodeNumber returns the device number of a block node.
func NodeNumber(path string) (blockdev.Number, error) { return nodeNumber(path) }
