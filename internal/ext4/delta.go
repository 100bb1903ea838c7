package ext4

import (
	"context"
	"io"
	"iter"

	"thinctl/internal/changes"
)

// Changed returns the paths that may differ between two file systems. One of them must be
// an earlier state of the other, as a snapshot of it, or of a snapshot of it. changed
// yields the ranges in which the devices may differ, in order, up to the end of the
// larger device.
//
// The result is for [changes.Options].Only. The kind of the error is Unsupported if the
// trees must be walked instead. Changed reads one block after another.
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
	tables       [2][chunk]byte // a part of the inode tables of both

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

// chunk is the size of a read from the inode tables, a multiple of the size of an inode.
const chunk = 64 << 10

// compareTables compares the inodes in the ranges that changed.
func (c *comparison) compareTables() error {
	size := c.upper.inodeSize
	for g, group := range c.upper.groups {
		next := uint64(0) // the first inode of the group that was not compared
		for part := range c.changed.within(group.table, group.table+group.used*size) {
			next = max(next, (part.begin-group.table)/size)
			for end := (part.end - group.table + size - 1) / size; next < end; {
				n := min(end-next, chunk/size)
				if err := c.compareTable(uint64(g), next, n); err != nil {
					return err
				}
				next += n
			}
		}
	}
	return nil
}

// compareTable compares consecutive inodes of a group. The lower tree may have fewer.
func (c *comparison) compareTable(g, first, n uint64) error {
	size, lowerN := c.upper.inodeSize, uint64(0)
	if g < c.lower.groupCount {
		lowerN = min(n, max(first, c.lower.groups[g].used)-first)
	}
	at := c.upper.groups[g].table + first*size
	if err := c.lower.read(c.tables[0][:lowerN*size], at); err != nil {
		return err
	}
	if err := c.upper.read(c.tables[1][:n*size], at); err != nil {
		return err
	}
	for i := range n {
		now := inode{number: uint32(g*c.upper.inodesPerGroup+first+i) + 1, record: c.tables[1][i*size:][:size]}
		was := inode{number: now.number}
		if i < lowerN {
			was.record = c.tables[0][i*size:][:size]
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
