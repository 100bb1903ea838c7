package store

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
)

// bbolt trusts its pages: one that leads back to itself has it descend for ever, and
// one that says it has four billion that follow has it free them, and take memory for
// each. So the pages are walked once when a file is opened.

// Layout of a page (bbolt, internal/common/page.go): id, flags, count of elements,
// pages that follow; then the elements.
const (
	pageHeader  = 16
	pageElement = 16
	pageBranch  = 0x01
	pageLeaf    = 0x02
	pageFree    = 0x10
	leafBucket  = 0x01
)

// Where a meta page, which is one of the first two, has what is needed
// (internal/common/meta.go). Its checksum is FNV-1a's of all before it.
const (
	metaMagic    = pageHeader
	metaPageSize = pageHeader + 8
	metaRoot     = pageHeader + 16
	metaFree     = pageHeader + 32
	metaPages    = pageHeader + 40 // how many are in use or free
	metaTx       = pageHeader + 48
	metaSum      = pageHeader + 56
	metaEnd      = pageHeader + 64

	magic       = 0xED0CDAED
	manyFree    = 0xFFFF // the count of free pages does not fit, and is the first element
	mostPerPage = 1 << 20
)

// tree is the pages of a database as a walk has found them.
type tree struct {
	file    []byte
	size    int    // of a page
	pages   uint64 // that are in use or free
	reached map[uint64]bool
}

// checkPages tells whether what the newest meta page leads to is whole, and each page
// of it is reached once. Without one that is sound it is for bbolt to say so.
func checkPages(file []byte) error {
	newest, size := newestMeta(file)
	if newest == nil {
		return nil
	}
	t := tree{file: file, size: size, pages: binary.NativeEndian.Uint64(newest[metaPages:]),
		reached: map[uint64]bool{0: true, 1: true}}
	if t.pages > uint64(len(file)/size) {
		return fmt.Errorf("%w: it has %d bytes, and says %d pages", ErrCorrupt, len(file), t.pages)
	}
	err := t.visit(binary.NativeEndian.Uint64(newest[metaRoot:]), pageBranch|pageLeaf)
	if err == nil { // the last, since what is free must not be reached
		err = t.visit(binary.NativeEndian.Uint64(newest[metaFree:]), pageFree)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// newestMeta returns the meta page that counts, and how large pages are.
func newestMeta(file []byte) (newest []byte, size int) {
	size = os.Getpagesize()
	for n := range 2 {
		at := n * size
		if at+metaEnd > len(file) {
			break
		}
		page := file[at : at+metaEnd]
		sum := fnv.New64a()
		sum.Write(page[pageHeader:metaSum])
		said := int(binary.NativeEndian.Uint32(page[metaPageSize:]))
		if binary.NativeEndian.Uint32(page[metaMagic:]) != magic ||
			binary.NativeEndian.Uint64(page[metaSum:]) != sum.Sum64() ||
			said < metaEnd || said > mostPerPage {
			continue
		}
		size = said
		if newest == nil || binary.NativeEndian.Uint64(page[metaTx:]) > binary.NativeEndian.Uint64(newest[metaTx:]) {
			newest = page
		}
	}
	return newest, size
}

// visit looks at a page, which must be of one of the kinds, and those below it.
func (t *tree) visit(id uint64, kinds uint16) error {
	if err := t.reach(id); err != nil {
		return err
	}
	page := t.file[id*uint64(t.size):]
	more := uint64(binary.NativeEndian.Uint32(page[12:]))
	if binary.NativeEndian.Uint64(page) != id || more >= t.pages-id {
		return fmt.Errorf("page %d is not one", id)
	}
	for next := id + 1; next <= id+more; next++ {
		if err := t.reach(next); err != nil {
			return err
		}
	}
	if kinds == pageFree {
		return t.free(id, page[:(more+1)*uint64(t.size)])
	}
	if err := t.elements(page[:(more+1)*uint64(t.size)]); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (t *tree) reach(id uint64) error {
	switch {
	case id >= t.pages:
		return fmt.Errorf("page %d is beyond the end", id)
	case t.reached[id]:
		return fmt.Errorf("page %d is reached twice", id)
	}
	t.reached[id] = true
	return nil
}

// free looks at the list of free pages: one that is in use would be overwritten.
func (t *tree) free(id uint64, page []byte) error {
	flags, count := binary.NativeEndian.Uint16(page[8:]), uint64(binary.NativeEndian.Uint16(page[10:]))
	list := page[pageHeader:]
	if count == manyFree {
		count, list = binary.NativeEndian.Uint64(list), list[8:]
	}
	if flags != pageFree || count > uint64(len(list)/8) {
		return fmt.Errorf("page %d, of %d free ones, has flags %#x", id, count, flags)
	}
	for ; count > 0; count-- {
		if err := t.reach(binary.NativeEndian.Uint64(list)); err != nil {
			return err
		}
		list = list[8:]
	}
	return nil
}

// elements visits what a page leads to.
func (t *tree) elements(page []byte) error {
	if len(page) < pageHeader {
		return fmt.Errorf("it has %d bytes", len(page))
	}
	flags, count := binary.NativeEndian.Uint16(page[8:]), int(binary.NativeEndian.Uint16(page[10:]))
	if pageHeader+count*pageElement > len(page) || flags != pageBranch && flags != pageLeaf {
		return fmt.Errorf("it has %d elements and flags %#x", count, flags)
	}
	for n := range count {
		at := page[pageHeader+n*pageElement:]
		if flags == pageBranch && extent(at, 0, 4) > uint64(len(at)) ||
			flags == pageLeaf && extent(at, 4, 8, 12) > uint64(len(at)) {
			return fmt.Errorf("element %d lies beyond it", n)
		}
		switch {
		case flags == pageBranch:
			if err := t.visit(binary.NativeEndian.Uint64(at[8:]), pageBranch|pageLeaf); err != nil {
				return err
			}
		case binary.NativeEndian.Uint32(at)&leafBucket != 0:
			if err := t.bucket(at); err != nil {
				return err
			}
		}
	}
	return nil
}

// extent is the sum of what an element says at these places: where its key begins, from
// itself, and how long key and value are.
func extent(element []byte, at ...int) (sum uint64) {
	for _, at := range at {
		sum += uint64(binary.NativeEndian.Uint32(element[at:]))
	}
	return sum
}

// bucket visits the tree of a bucket: its value is the root's page, a number, and
// where that page is 0 the page itself.
func (t *tree) bucket(element []byte) error {
	const root = 16
	value := element[extent(element, 4, 8):extent(element, 4, 8, 12)]
	if len(value) < root {
		return fmt.Errorf("a bucket has %d bytes", len(value))
	}
	if id := binary.NativeEndian.Uint64(value); id != 0 {
		return t.visit(id, pageBranch|pageLeaf)
	}
	return t.elements(value[root:])
}
