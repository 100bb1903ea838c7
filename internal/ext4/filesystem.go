package ext4

import (
	"context"
	"errors"
	"io"
)

// fileSystem is one of the two file systems. One goroutine uses it.
type fileSystem struct {
	ctx  context.Context
	name string // for errors
	r    io.ReaderAt
	superblock
	groups []group
	buffer []byte // of the directory that is read
}

func open(ctx context.Context, name string, r io.ReaderAt) (*fileSystem, error) {
	fs := &fileSystem{ctx: ctx, name: name, r: r}
	if err := fs.readSuperblock(); err != nil {
		return nil, err
	}
	return fs, fs.readGroups()
}

// read fills b from a byte offset.
func (fs *fileSystem) read(b []byte, at uint64) error {
	if err := context.Cause(fs.ctx); err != nil {
		return err
	}
	n, err := fs.r.ReadAt(b, int64(at))
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return fs.unsupported("the device ends before byte %d", at+uint64(len(b)))
	}
	return &Error{Op: "read", Object: fs.name, Err: err}
}

// readBlock fills b, which is not longer than a block, from the beginning of a block.
func (fs *fileSystem) readBlock(b []byte, number uint64) error {
	if number >= fs.blocks {
		return fs.unsupported("block %d is not one of its %d blocks", number, fs.blocks)
	}
	return fs.read(b, number*fs.blockSize)
}
