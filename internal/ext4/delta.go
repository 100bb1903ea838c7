package ext4

import (
	"context"
	"io"
	"iter"

	"thinctl/internal/changes"
)

// Changed returns the paths that may differ between two file systems of one origin: both
// are snapshots of one, or one is a snapshot of the other. changed yields the ranges in
// which the devices may differ, in order; a device that is larger than the other also
// differs where the other has ended.
//
// The result is for [changes.Options].Only. The kind of the error is Unsupported if the
// trees must be walked instead.
func Changed(ctx context.Context, lower, upper io.ReaderAt, changed iter.Seq[Range]) (changes.Names, error) {
	ranges, err := collect(changed)
	if err != nil {
		return nil, err
	}
	c := &comparison{changed: ranges, names: map[uint32]changes.Names{}, files: map[uint32]int{}}
	if c.lower, err = open(ctx, "the lower ext4 file system", lower); err != nil {
		return nil, err
	}
	if c.upper, err = open(ctx, "the upper ext4 file system", upper); err != nil {
		return nil, err
	}
	if err := c.checkOrigin(); err != nil {
		return nil, err
	}
	if err := c.compareTables(); err != nil {
		return nil, err
	}
	if err := c.findNames(); err != nil {
		return nil, err
	}
	return c.paths()
}

// comparison is the state of a call of Changed.
type comparison struct {
	lower, upper *fileSystem
	changed      spans

	names       map[uint32]changes.Names // that may differ, by the directory in the upper tree
	directories []uint32                 // of the upper tree, with a changed or new record
	files       map[uint32]int           // changed files of both trees: names that are still to be found
}

// checkOrigin compares the properties that have to be the same. The upper file system
// may have grown. A file system that has shrunk has other inode numbers.
func (c *comparison) checkOrigin() error {
	if c.lower.origin != c.upper.origin {
		return c.upper.unsupported("it is not of the origin of the lower one, or was checked by e2fsck")
	}
	if c.upper.groupCount < c.lower.groupCount {
		return c.upper.unsupported("it has %d groups, and the lower one %d", c.upper.groupCount, c.lower.groupCount)
	}
	for g, lower := range c.lower.groups {
		if c.upper.groups[g].table != lower.table {
			return c.upper.unsupported("the inode table of group %d was moved", g)
		}
	}
	return nil
}

// compareTables compares the inodes in the ranges that changed.
func (c *comparison) compareTables() error {
	const chunk = 64 << 10 // a multiple of the size of an inode
	var buffers [2][]byte
	for i := range buffers {
		buffers[i] = make([]byte, chunk)
	}
	size := c.upper.inodeSize
	for g, upper := range c.upper.groups {
		lowerUsed := uint64(0)
		if g < len(c.lower.groups) {
			lowerUsed = c.lower.groups[g].used
		}
		next := uint64(0) // the first inode that was not compared
		for part := range c.changed.within(upper.table, upper.table+upper.used*size) {
			next = max(next, (part.begin-upper.table)/size)
			end := (part.end - upper.table + size - 1) / size
			for next < end {
				n := min(end-next, chunk/size)
				first := uint32(uint64(g)*c.upper.inodesPerGroup+next) + 1
				inLower := min(n, max(lowerUsed, next)-next)
				lower, all := buffers[0][:inLower*size], buffers[1][:n*size]
				if err := c.lower.read(lower, upper.table+next*size); err != nil {
					return err
				}
				if err := c.upper.read(all, upper.table+next*size); err != nil {
					return err
				}
				if err := c.compareInodes(first, lower, all); err != nil {
					return err
				}
				next += n
			}
		}
	}
	return nil
}

// compareInodes compares consecutive inodes. The lower tree may have fewer.
func (c *comparison) compareInodes(first uint32, lower, upper []byte) error {
	size := int(c.upper.inodeSize)
	for at := 0; at < len(upper); at += size {
		now := inode{first + uint32(at/size), upper[at:][:size]}
		was := inode{number: now.number}
		if at < len(lower) {
			was.record = lower[at:][:size]
		}
		if !now.isUsed() || c.upper.isNameless(now.number) || was.isUsed() && sameRecord(was, now) {
			continue
		}
		if err := c.add(was, now); err != nil {
			return err
		}
	}
	return nil
}

// add notes a changed inode.
func (c *comparison) add(was, now inode) error {
	if now.isDirectory() {
		c.directories = append(c.directories, now.number)
	}
	switch {
	case !was.isUsed(): // all of its names are new, so its directories have changed
		return nil
	case !now.isDirectory():
		c.files[now.number] = now.links()
		return nil
	}
	c.touch(now.number)
	if was.isDirectory() {
		return c.compareEntries(was, now)
	}
	return nil
}

// touch adds a directory of the upper tree to the result.
func (c *comparison) touch(directory uint32) {
	if c.names[directory] == nil {
		c.names[directory] = changes.Names{}
	}
}

// touchName adds a name to the result.
func (c *comparison) touchName(directory uint32, name []byte) {
	c.touch(directory)
	c.names[directory][string(name)] = nil
}

// compareEntries adds the names that lead to different inodes in two versions of a
// directory.
func (c *comparison) compareEntries(was, now inode) error {
	wasRuns, err := c.lower.runs(was)
	if err != nil {
		return err
	}
	nowRuns, err := c.upper.runs(now)
	if err != nil {
		return err
	}
	before := map[string]uint32{}
	for e, err := range c.lower.entries(was, c.written(wasRuns, nowRuns)) {
		if err != nil {
			return err
		}
		before[string(e.name)] = e.inode
	}
	for e, err := range c.upper.entries(now, c.written(nowRuns, wasRuns)) {
		if err != nil {
			return err
		}
		if before[string(e.name)] == e.inode {
			delete(before, string(e.name))
		} else {
			c.touchName(now.number, e.name)
		}
	}
	for name := range before {
		c.touchName(now.number, []byte(name))
	}
	return nil
}

// written returns the blocks of a directory without those that its other version has
// too, and that are the same on both devices.
func (c *comparison) written(runs, other []run) []run {
	size := c.upper.blockSize
	shared := map[uint64]struct{}{}
	for _, r := range other {
		for b := r.first; b < r.first+r.count; b++ {
			shared[b] = struct{}{}
		}
	}
	var written []run
	for _, r := range runs {
		for b := r.first; b < r.first+r.count; b++ {
			if _, both := shared[b]; both && !c.changed.touch(b*size, (b+1)*size) {
				continue
			}
			if last := len(written) - 1; last >= 0 && written[last].first+written[last].count == b {
				written[last].count++
			} else {
				written = append(written, run{b, 1})
			}
		}
	}
	return written
}
