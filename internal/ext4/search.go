package ext4

import "slices"

// findNames finds all names of the changed files. It first searches the directories that
// changed, then those near each file: the kernel makes a file in the group of its
// directory, or in a group of the same flex group (find_group_other in fs/ext4/ialloc.c),
// and usually after the directory.
func (c *comparison) findNames() error {
	if len(c.files) == 0 {
		return nil
	}
	s := &search{comparison: c, missing: len(c.files), searched: map[uint32]struct{}{}, scanned: map[uint64][]bool{}}
	for _, number := range c.directories {
		if s.missing == 0 {
			return nil
		}
		i, err := c.upper.directory(number)
		if err != nil {
			return err
		}
		if err := s.directory(i); err != nil {
			return err
		}
	}
	var files []uint32
	for number := range c.files {
		files = append(files, number)
	}
	slices.Sort(files)
	for _, number := range files {
		if err := s.near(number); err != nil {
			return err
		}
	}
	for g := range c.upper.groups {
		if err := s.group(uint64(g), func() bool { return s.missing == 0 }); err != nil {
			return err
		}
	}
	for _, number := range files {
		if left := c.files[number]; left > 0 {
			return c.upper.unsupported("inode %d has %d links more than names", number, left)
		}
	}
	return nil
}

// search looks for files in the directories of the upper tree.
type search struct {
	*comparison
	missing  int                 // files with names that are still to be found
	searched map[uint32]struct{} // directories
	scanned  map[uint64][]bool   // groups, by parts; nil is a whole group
	buffer   []byte
}

// partSize is the number of inodes that are read at a time.
const partSize = 64

// near searches the group of a file, and the other groups of its flex group, until all
// names of the file are found.
func (s *search) near(number uint32) error {
	found := func() bool { return s.files[number] == 0 }
	own, index := s.upper.place(number)
	for part := index/partSize + 1; part > 0 && !found(); part-- {
		if err := s.part(own, part-1); err != nil {
			return err
		}
	}
	if err := s.group(own, found); err != nil {
		return err
	}
	first := own / s.upper.groupsPerFlex * s.upper.groupsPerFlex
	for g := first; g < min(first+s.upper.groupsPerFlex, s.upper.groupCount); g++ {
		if err := s.group(g, found); err != nil {
			return err
		}
	}
	return nil
}

// group searches all directories of a group, until found returns true.
func (s *search) group(g uint64, found func() bool) error {
	if whole, has := s.scanned[g]; has && whole == nil {
		return nil
	}
	for part := uint64(0); part*partSize < s.upper.groups[g].used; part++ {
		if found() {
			return nil
		}
		if err := s.part(g, part); err != nil {
			return err
		}
	}
	s.scanned[g] = nil
	return nil
}

// part searches the directories of some consecutive inodes.
func (s *search) part(g, part uint64) error {
	group := s.upper.groups[g]
	first := part * partSize
	if group.directories == 0 || first >= group.used {
		return nil
	}
	parts, has := s.scanned[g]
	if has && (parts == nil || parts[part]) {
		return nil
	}
	if !has {
		parts = make([]bool, (group.used+partSize-1)/partSize)
		s.scanned[g] = parts
	}
	parts[part] = true
	size := s.upper.inodeSize
	if s.buffer == nil {
		s.buffer = make([]byte, partSize*size)
	}
	b := s.buffer[:min(partSize, group.used-first)*size]
	if err := s.upper.read(b, group.table+first*size); err != nil {
		return err
	}
	for at := uint64(0); at < uint64(len(b)); at += size {
		number := uint32(g*s.upper.inodesPerGroup+first+at/size) + 1
		i := inode{number, b[at:][:size]}
		if !i.isUsed() || !i.isDirectory() || s.upper.isNameless(number) {
			continue
		}
		if err := s.directory(i); err != nil {
			return err
		}
	}
	return nil
}

// directory searches a directory.
func (s *search) directory(i inode) error {
	if _, again := s.searched[i.number]; again {
		return nil
	}
	s.searched[i.number] = struct{}{}
	for e, err := range s.upper.list(i) {
		if err != nil {
			return err
		}
		left, changed := s.files[e.inode]
		if !changed {
			continue
		}
		if left == 0 {
			return s.upper.unsupported("inode %d has more names than links", e.inode)
		}
		s.touchName(i.number, e.name)
		s.files[e.inode] = left - 1
		if left == 1 {
			s.missing--
		}
	}
	return nil
}
