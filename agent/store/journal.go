package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

const (
	// journalEnd is added to the name of the state file.
	journalEnd = "-journal"
	// journalSize is what the journal may hold. It is all there from the first write on,
	// so that a write changes no more of the file system than its own pages.
	journalSize = 256 << 10
	// longestEntry is the longest one that goes into the journal.
	longestEntry = journalSize / 2
	// entryPage is what an entry begins at a multiple of: no write touches a page that
	// holds what was acknowledged before.
	entryPage = 4096

	entryMagic  = 0x314c4e524a534345 // "ECSJRNL1"
	entryHeader = 32
)

var entrySums = crc32.MakeTable(crc32.Castagnoli)

// journal is a file of entries, each a batch of puts that was synced with one write:
//
//	 0  magic
//	 8  run: the number of the state file that the entry belongs to
//	16  number of the entry, from 0
//	20  length of what follows the header
//	24  CRC-32C of the header up to here and of what follows it
//	32  puts: 0 or 1 (a deletion or not), then bucket, key and value, each after its
//	    length as an unsigned varint
//
// Numbers are little-endian. Entries of another run are left over and mean nothing.
type journal struct {
	path string
	file *os.File // nil until the first entry
	run  uint64   // 0: the state file names none, and nothing may be added
	next uint32   // number of the entry to come
	at   int64    // where it goes
	page []byte   // room for an entry, used again and again
}

func journalPath(state string) string { return state + journalEnd }

// add makes puts durable. It reports false when they do not fit.
func (j *journal) add(puts []put) (fits bool, err error) {
	if j.run == 0 {
		return false, nil
	}
	entry := j.encode(puts)
	if len(entry) > longestEntry || j.at+int64(len(entry)) > journalSize {
		return false, nil
	}
	if err := j.open(); err != nil {
		return false, fmt.Errorf("open the journal: %w", err)
	}
	if _, err := j.file.WriteAt(entry, j.at); err != nil {
		return false, fmt.Errorf("write the journal: %w", err)
	}
	if err := syncWritten(j.file); err != nil {
		return false, fmt.Errorf("sync the journal: %w", err)
	}
	j.next++
	j.at += int64(len(entry))
	return true, nil
}

// encode makes an entry of whole pages.
func (j *journal) encode(puts []put) []byte {
	n := binary.LittleEndian
	e := append(j.page[:0], make([]byte, entryHeader)...)
	for _, p := range puts {
		kind := byte(1)
		if p.value == nil {
			kind = 0
		}
		e = append(e, kind)
		for _, part := range [][]byte{p.bucket, p.key, p.value} {
			e = append(binary.AppendUvarint(e, uint64(len(part))), part...)
		}
	}
	n.PutUint64(e, entryMagic)
	n.PutUint64(e[8:], j.run)
	n.PutUint32(e[16:], j.next)
	n.PutUint32(e[20:], uint32(len(e)-entryHeader))
	n.PutUint32(e[24:], entrySum(e))
	e = append(e, make([]byte, pages(len(e))-len(e))...)
	if len(e) <= longestEntry {
		j.page = e
	}
	return e
}

func pages(n int) int { return (n + entryPage - 1) / entryPage * entryPage }

func entrySum(entry []byte) uint32 {
	return crc32.Update(crc32.Checksum(entry[:24], entrySums), entrySums, entry[entryHeader:])
}

// open opens the file, and makes it with all its room.
func (j *journal) open() error {
	if j.file != nil {
		return nil
	}
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|writesSync, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < journalSize {
		if _, err = f.WriteAt(make([]byte, journalSize-info.Size()), info.Size()); err == nil {
			err = f.Sync()
		}
		if err == nil {
			err = syncDir(filepath.Dir(j.path)) // its name, too, has to outlast a crash
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.file = f
	return nil
}

// begin empties the journal: what it holds is in the state file, which names the run.
func (j *journal) begin(run uint64) { j.run, j.next, j.at = run, 0, 0 }

// stop lets nothing be added until begin.
func (j *journal) stop() { j.run = 0 }

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

// readJournal returns the puts of the entries of a run, in order, and what is wrong. A
// last entry that is cut off is nothing wrong: nobody was told that it is durable.
func readJournal(path string, run uint64) (puts []put, problems []string) {
	if run == 0 {
		return nil, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var content []byte
	if err == nil {
		content, err = io.ReadAll(io.LimitReader(f, journalSize))
		_ = f.Close()
	}
	if err != nil {
		return nil, []string{fmt.Sprintf("journal %s cannot be read (%v): what it holds is missing", path, err)}
	}
	next := uint32(0)
	for rest := content; len(rest) >= entryHeader; {
		number, body, ok := readEntry(rest, run)
		if !ok || number < next {
			rest = rest[min(len(rest), entryPage):]
			continue
		}
		if number > next {
			problems = append(problems, fmt.Sprintf("journal %s is damaged: %d of its entries are missing", path, number-next))
		}
		more, ok := readPuts(body)
		if !ok {
			problems = append(problems, fmt.Sprintf("journal %s: entry %d is damaged", path, number))
		}
		puts, next = append(puts, more...), number+1
		rest = rest[min(len(rest), pages(entryHeader+len(body))):]
	}
	return puts, problems
}

// readEntry reads what begins an entry of the run, if anything does.
func readEntry(from []byte, run uint64) (number uint32, body []byte, ok bool) {
	n := binary.LittleEndian
	if n.Uint64(from) != entryMagic || n.Uint64(from[8:]) != run {
		return 0, nil, false
	}
	length := n.Uint32(from[20:])
	if uint64(length) > uint64(len(from)-entryHeader) {
		return 0, nil, false
	}
	whole := from[:entryHeader+int(length)]
	if n.Uint32(whole[24:]) != entrySum(whole) {
		return 0, nil, false
	}
	return n.Uint32(whole[16:]), whole[entryHeader:], true
}

// readPuts reads puts up to the first that makes no sense.
func readPuts(body []byte) (puts []put, ok bool) {
	for len(body) > 0 {
		kind := body[0]
		body = body[1:]
		var parts [3][]byte
		for i := range parts {
			length, n := binary.Uvarint(body)
			if n <= 0 || length > uint64(len(body)-n) {
				return puts, false
			}
			parts[i], body = body[n:n+int(length):n+int(length)], body[n+int(length):]
		}
		p := put{bucket: knownBucket(parts[0]), key: parts[1], value: parts[2]}
		if p.bucket == nil || !fitsKey(p.key) || kind > 1 {
			return puts, false
		}
		if kind == 0 {
			p.value = nil
		}
		puts = append(puts, p)
	}
	return puts, true
}

// fitsKey reports whether the state file can take the key.
func fitsKey(key []byte) bool { return len(key) > 0 && len(key) <= bolt.MaxKeySize }

func knownBucket(name []byte) []byte {
	for _, b := range buckets {
		if bytes.Equal(b, name) {
			return b
		}
	}
	return nil
}
