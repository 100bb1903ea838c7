package ext4

import "thinctl/internal/changes"

// paths returns the names that may differ as paths in the upper tree. A directory that
// has another path in the lower tree is below a name that differs, where its own path
// does no harm.
func (c *comparison) paths() (changes.Names, error) {
	above, err := c.climb()
	if err != nil {
		return nil, err
	}
	c.touch(rootInode)
	below := map[uint32][]uint32{}
	for number, parent := range above {
		c.touch(number)
		below[parent] = append(below[parent], number)
	}
	for parent, directories := range below {
		if err := c.link(parent, directories); err != nil {
			return nil, err
		}
	}
	return c.names[rootInode], nil
}

// climb returns the parent of each directory with names that may differ, and of all
// directories above them.
func (c *comparison) climb() (map[uint32]uint32, error) {
	above := map[uint32]uint32{}
	climbed := map[uint32]uint32{} // the directory from which the climb began
	for from := range c.names {
		for at := from; at != rootInode; at = above[at] {
			if before, has := climbed[at]; has {
				if before == from {
					return nil, c.upper.unsupported("directory %d is in itself", at)
				}
				break
			}
			i, err := c.upper.directory(at)
			if err != nil {
				return nil, err
			}
			if above[at], err = c.upper.parent(i); err != nil {
				return nil, err
			}
			climbed[at] = from
		}
	}
	return above, nil
}

// link adds the names of directories to those of the directory above.
func (c *comparison) link(parent uint32, directories []uint32) error {
	i, err := c.upper.directory(parent)
	if err != nil {
		return err
	}
	left := map[uint32]struct{}{}
	for _, number := range directories {
		left[number] = struct{}{}
	}
	for e, err := range c.upper.list(i) {
		if err != nil {
			return err
		}
		if _, wanted := left[e.inode]; !wanted {
			continue
		}
		c.names[parent][string(e.name)] = c.names[e.inode]
		if delete(left, e.inode); len(left) == 0 {
			return nil
		}
	}
	return c.upper.unsupported("directory %d has no entry for %d of its directories", parent, len(left))
}
