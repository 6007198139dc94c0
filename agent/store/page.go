package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	bolt "go.etcd.io/bbolt"
)

// What bbolt's file looks like (go.etcd.io/bbolt, internal/common). Numbers are in the
// byte order of the host.
const (
	fileMagic   = 0xED0CDAED
	fileVersion = 2

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10

	bucketFlag = 0x01 // of a leaf's element: the value is a bucket

	headerSize  = 16 // of a page, of an element, of a bucket
	metaSize    = 64 // with the checksum
	maxDepth    = 48 // of a tree; a sound one of this many levels would not fit a disk
	maxDamage   = 20 // messages kept
	noFreelist  = ^uint64(0)
	manyEntries = 0xFFFF // a free list of so many or more holds its length in its first entry
)

// found is a record of the file.
type found struct{ bucket, key, value []byte }

// survey reads a bbolt file without trusting a byte of it. It returns every record
// that can be reached, and what is wrong; nothing is wrong with a file of which bbolt
// itself can read everything. bbolt answers the same damage with a panic, a memory
// fault or an endless loop. When the latest transaction is damaged and the one before
// it is whole, the one before is what is returned.
func survey(data []byte) (records []found, damage []string) {
	metas := validMetas(data)
	if len(metas) == 0 {
		return nil, []string{"it is no state file: neither of its two headers is valid"}
	}
	for i, m := range metas { // the latest first
		w := walk{data: data, meta: m, visited: make(map[uint64]bool)}
		w.file()
		if i == 0 {
			records, damage = w.records, w.damage
		} else if len(damage) > 0 && len(w.damage) == 0 {
			records = w.records
			damage = append(damage, "the transaction before the last is whole and was used")
		}
	}
	return records, damage
}

// fileMeta is what one of the two header pages says.
type fileMeta struct {
	pageSize, root, freelist, pages, tx uint64
}

// validMetas returns the valid headers, the latest first.
func validMetas(data []byte) []fileMeta {
	var all []fileMeta
	add := func(offset uint64) {
		if m, ok := parseMeta(data, offset); ok && (offset == 0 || offset == m.pageSize) {
			all = append(all, m)
		}
	}
	add(0)
	if len(all) == 1 {
		add(all[0].pageSize)
	} else {
		for size := uint64(1024); size <= 64<<10; size <<= 1 {
			add(size)
		}
	}
	if len(all) == 2 && all[1].tx > all[0].tx {
		all[0], all[1] = all[1], all[0]
	}
	return all
}

func parseMeta(data []byte, offset uint64) (m fileMeta, ok bool) {
	if offset+headerSize+metaSize > uint64(len(data)) {
		return m, false
	}
	b := data[offset+headerSize:][:metaSize]
	n := binary.NativeEndian
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8]) // a hash takes everything
	m = fileMeta{
		pageSize: uint64(n.Uint32(b[8:])), root: n.Uint64(b[16:]),
		freelist: n.Uint64(b[32:]), pages: n.Uint64(b[40:]), tx: n.Uint64(b[48:]),
	}
	ok = n.Uint32(b) == fileMagic && n.Uint32(b[4:]) == fileVersion && n.Uint64(b[56:]) == sum.Sum64() &&
		m.pageSize >= 1024 && m.pageSize <= 64<<10 && m.pageSize&(m.pageSize-1) == 0
	return m, ok
}

// walk goes through the tree below one header.
type walk struct {
	data    []byte
	meta    fileMeta
	visited map[uint64]bool // pages in use, overflow pages too
	records []found
	damage  []string
}

func (w *walk) bad(format string, args ...any) {
	if len(w.damage) < maxDamage {
		w.damage = append(w.damage, fmt.Sprintf(format, args...))
	}
}

func (w *walk) file() {
	if w.meta.pages > uint64(len(w.data))/w.meta.pageSize {
		w.bad("it has %d bytes, too few for its %d pages", len(w.data), w.meta.pages)
	}
	w.visited[0], w.visited[1] = true, true
	w.tree(w.meta.root, nil, nil, nil, 0)
	w.freelist()
}

// freelist checks that no free page is in use: bbolt would write over it.
func (w *walk) freelist() {
	if w.meta.freelist == noFreelist {
		w.bad("its list of free pages was not saved")
		return
	}
	p, err := w.page(w.meta.freelist)
	if err != nil || p.flags != freelistPage {
		w.bad("its list of free pages is damaged (page %d)", w.meta.freelist)
		return
	}
	count, ids := uint64(p.count), p.body[headerSize:]
	if count == manyEntries && len(ids) >= 8 {
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		w.bad("its list of free pages has %d entries, more than fit", count)
		return
	}
	for i := range count {
		id := binary.NativeEndian.Uint64(ids[8*i:])
		if id >= w.meta.pages || w.visited[id] {
			w.bad("page %d is listed as free and is not", id)
			return
		}
		w.visited[id] = true
	}
}

// rawPage is a page with its overflow, header included.
type rawPage struct {
	flags, count uint16
	body         []byte
}

var errPage = errors.New("damaged")

// page takes a page that nothing else uses.
func (w *walk) page(id uint64) (p rawPage, err error) {
	size := w.meta.pageSize
	if id < 2 || id >= w.meta.pages || id >= uint64(len(w.data))/size {
		return p, fmt.Errorf("page %d is outside of the file", id)
	}
	rest := w.data[id*size:]
	n := binary.NativeEndian
	overflow := uint64(n.Uint32(rest[12:]))
	if n.Uint64(rest) != id {
		return p, fmt.Errorf("page %d says that it is page %d", id, n.Uint64(rest))
	}
	if overflow >= w.meta.pages-id || overflow >= uint64(len(rest))/size {
		return p, fmt.Errorf("page %d is longer than the file", id)
	}
	for i := id; i <= id+overflow; i++ {
		if w.visited[i] {
			return p, fmt.Errorf("page %d is used twice", i)
		}
		w.visited[i] = true
	}
	return rawPage{flags: n.Uint16(rest[8:]), count: n.Uint16(rest[10:]), body: rest[:(overflow+1)*size]}, nil
}

// tree reads the pages of a bucket, nil for the root bucket. Its keys are from low,
// and below high where that is not nil.
func (w *walk) tree(id uint64, bucket, low, high []byte, depth int) {
	p, err := w.page(id)
	switch {
	case err != nil:
		w.bad("%v", err)
	case depth > maxDepth:
		w.bad("page %d is too deep in the tree", id)
	case p.flags == leafPage:
		w.leaf(fmt.Sprintf("page %d", id), p, bucket, low, high)
	case p.flags == branchPage && p.count > 0:
		w.branch(id, p, bucket, low, high, depth)
	default:
		w.bad("page %d is of no known kind", id)
	}
}

func (w *walk) branch(id uint64, p rawPage, bucket, low, high []byte, depth int) {
	n := binary.NativeEndian
	type child struct {
		id  uint64
		key []byte
	}
	var children []child
	for i := range int(p.count) {
		at := headerSize + i*headerSize
		if at+headerSize > len(p.body) {
			w.bad("page %d has more entries than fit", id)
			break
		}
		e := p.body[at:]
		key, err := cut(e, n.Uint32(e), n.Uint32(e[4:]))
		if err != nil || !within(key, low, high) {
			w.bad("entry %d of page %d is damaged", i, id)
			continue
		}
		children, low = append(children, child{n.Uint64(e[8:]), key}), key
	}
	for i, c := range children {
		end := high
		if i+1 < len(children) {
			end = children[i+1].key
			if bytes.Equal(c.key, end) {
				w.bad("two entries of page %d have the same key", id)
				continue
			}
		}
		w.tree(c.id, bucket, c.key, end, depth+1)
	}
}

// leaf reads a page of records, or of buckets when it belongs to the root bucket.
func (w *walk) leaf(name string, p rawPage, bucket, low, high []byte) {
	n := binary.NativeEndian
	var last []byte
	for i := range int(p.count) {
		at := headerSize + i*headerSize
		if at+headerSize > len(p.body) {
			w.bad("%s has more entries than fit", name)
			return
		}
		e := p.body[at:]
		key, err := cut(e, n.Uint32(e[4:]), n.Uint32(e[8:]))
		var value []byte
		if err == nil {
			value, err = cut(e, n.Uint32(e[4:])+n.Uint32(e[8:]), n.Uint32(e[12:]))
		}
		if err != nil || len(key) == 0 || len(key) > bolt.MaxKeySize || !within(key, low, high) || i > 0 && bytes.Compare(last, key) >= 0 {
			w.bad("entry %d of %s is damaged", i, name)
			continue
		}
		last = key
		switch isBucket := n.Uint32(e)&bucketFlag != 0; {
		case isBucket && bucket == nil:
			w.bucket(key, value)
		case !isBucket && bucket != nil:
			w.records = append(w.records, found{bucket, key, value})
		default:
			w.bad("entry %d of %s is of the wrong kind", i, name)
		}
	}
}

// bucket reads the bucket that an entry of the root bucket describes. A small one is
// a page within the entry.
func (w *walk) bucket(name, value []byte) {
	if len(value) < headerSize {
		w.bad("the entry of bucket %q is damaged", name)
		return
	}
	n := binary.NativeEndian
	if root := n.Uint64(value); root != 0 {
		w.tree(root, name, nil, nil, 0)
		return
	}
	inline := value[headerSize:]
	if len(inline) < headerSize || n.Uint16(inline[8:]) != leafPage {
		w.bad("bucket %q is damaged", name)
		return
	}
	w.leaf(fmt.Sprintf("bucket %q", name), rawPage{flags: leafPage, count: n.Uint16(inline[10:]), body: inline}, name, nil, nil)
}

// cut takes length bytes at an offset; both may be anything.
func cut(b []byte, offset, length uint32) ([]byte, error) {
	end := uint64(offset) + uint64(length)
	if end > uint64(len(b)) {
		return nil, errPage
	}
	return b[offset:end:end], nil
}

// within reports low <= key < high; nil is no bound.
func within(key, low, high []byte) bool {
	return bytes.Compare(key, low) >= 0 && (high == nil || bytes.Compare(key, high) < 0)
}
