package store

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
)

// bbolt trusts its pages. With a page that refers to itself it descends forever. With a
// page that has an overflow of four billion pages it frees them, and allocates memory
// for each. So all pages are checked when a file is opened.

// Layout of a page (bbolt, internal/common/page.go): id, flags, count of elements, count
// of overflow pages, then the elements.
const (
	pageHeader  = 16
	pageElement = 16
	pageBranch  = 0x01
	pageLeaf    = 0x02
	pageFree    = 0x10
	leafBucket  = 0x01
)

// Offsets in a meta page, which is one of the first two (internal/common/meta.go). Its
// checksum is FNV-1a of all bytes before the checksum.
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

// tree holds the pages of a database, and the set of those that the check has reached.
type tree struct {
	file    []byte
	size    int    // of a page
	pages   uint64 // that are in use or free
	reached map[uint64]bool
}

// checkPages returns an error unless all pages below the newest meta page are sound and
// each is reached only once. It succeeds if no meta page is sound: bbolt reports that.
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
	if err == nil { // last: a free page must not be part of the tree
		err = t.visit(binary.NativeEndian.Uint64(newest[metaFree:]), pageFree)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// newestMeta returns the newest sound meta page, and the size of a page.
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

// visit checks a page and the pages below it.
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

// free checks the list of free pages: bbolt would overwrite a listed page that is in use.
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

// elements visits the pages and buckets to which a page refers.
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

// extent returns the sum of the numbers at these offsets of an element: the offset of
// its key from the element, and the lengths of key and value.
func extent(element []byte, at ...int) (sum uint64) {
	for _, at := range at {
		sum += uint64(binary.NativeEndian.Uint32(element[at:]))
	}
	return sum
}

// bucket visits the tree of a bucket. Its value begins with the id of the root page and
// a number. If the id is 0, the page itself follows.
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
