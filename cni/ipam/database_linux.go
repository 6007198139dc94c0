package ipam

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"ecsagent/cni/plugin"
)

// The file:
//
//	IPAM                 what the official plugin reads and writes
//	  <IPv4 address>     owner          6<IPv6 address>   owner
//	  <gateway>          GateWay, GateWayV6
//	  lastKnownIP        address        lastKnownIPv6     address
//	attachments          ours: which container an owner belongs to
//	  <owner>            <container id>/<interface>
//
// Values in IPAM are preceded by 8 bytes, a little-endian revision counter.
var (
	bucketIPAM        = []byte("IPAM")
	bucketAttachments = []byte("attachments")
)

const revisionBytes = 8

// database is where and how the file is opened.
type database struct {
	path string
	wait time.Duration
	// inUse is what the kernel shows: the addresses that tasks have now, with their owners.
	inUse func() (map[string]string, error)
	log   func(format string, args ...any)
}

// settings reads the environment of the official plugin.
func settings() (path string, wait time.Duration, err error) {
	path, wait = os.Getenv("IPAM_DB_PATH"), 5*time.Second
	if path == "" {
		path = "/data/eni-ipam.db"
	}
	if text := os.Getenv("IPAM_DB_CONNECTION_TIMEOUT"); text != "" {
		if wait, err = time.ParseDuration(text); err != nil || wait <= 0 {
			return "", 0, plugin.Invalid("IPAM_DB_CONNECTION_TIMEOUT", text, `a duration such as "5s"`)
		}
	}
	return path, wait, nil
}

// update runs f in a transaction, while no other process has the file. A damaged file is
// set aside, and one made that holds what the kernel shows.
func (d database) update(f func(table, *bbolt.Tx) error) error {
	if err := os.MkdirAll(filepath.Dir(d.path), 0o750); err != nil {
		return fmt.Errorf("make the directory of the address database: %w", err)
	}
	err := d.attempt(f)
	var damage damaged
	if !errors.As(err, &damage) {
		return err
	}
	d.log("%v; the database is set aside and made anew", damage)
	return d.attempt(f)
}

// damaged is a file that is no database any more.
type damaged struct{ cause error }

func (d damaged) Error() string { return "the address database is damaged: " + d.cause.Error() }
func (d damaged) Unwrap() error { return d.cause }

func (d database) attempt(f func(table, *bbolt.Tx) error) error {
	lock, err := d.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	err = d.transaction(lock, f)
	var damage damaged
	if errors.As(err, &damage) {
		if e := d.setAside(lock); e != nil {
			return fmt.Errorf("%w, and cannot be set aside: %w", damage.cause, e)
		}
	}
	return err
}

// setAside renames the file that lock is of, unless another process did. Only who has
// the lock on the file of that name renames it, so that nobody's new file is lost.
func (d database) setAside(lock *os.File) error {
	// The library let go of the lock when it closed its side.
	if err := flock(lock, d.wait); err != nil {
		return err
	}
	if same, err := d.named(lock); err != nil || !same {
		return err
	}
	return os.Rename(d.path, d.path+".damaged")
}

// named reports whether f is the file of the database's name.
func (d database) named(f *os.File) (bool, error) {
	a, err := f.Stat()
	if err != nil {
		return false, err
	}
	b, err := os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(a, b), err
}

// transaction turns what a damaged file makes the library do, panics and faults of the
// memory map, into errors.
func (d database) transaction(lock *os.File, f func(table, *bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damaged{fmt.Errorf("%v", r)}
		}
	}()
	db, err := bbolt.Open(d.path, 0o644, &bbolt.Options{
		// The same open file, so that the library's own lock is the one that is held.
		OpenFile: func(string, int, os.FileMode) (*os.File, error) {
			fd, err := unix.FcntlInt(lock.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			return os.NewFile(uintptr(fd), d.path), err
		},
		Timeout: d.wait,
		// What the file says ends with the namespaces of the tasks: a power failure
		// that damages it ends them too. A kill of the process damages nothing.
		NoSync: true, NoGrowSync: true,
		FreelistType: bbolt.FreelistMapType,
	})
	switch {
	case isDamage(err):
		return damaged{err}
	case err != nil:
		return fmt.Errorf("open the address database %s: %w", d.path, err)
	}
	defer func() {
		if e := db.Close(); e != nil && err == nil {
			err = fmt.Errorf("close the address database: %w", e)
		}
	}()
	err = db.Update(func(tx *bbolt.Tx) error {
		t, err := d.open(tx, lock)
		if err != nil {
			return err
		}
		return f(t, tx)
	})
	return err
}

func isDamage(err error) bool {
	for _, e := range []error{bolterrors.ErrInvalid, bolterrors.ErrVersionMismatch, bolterrors.ErrChecksum, bolterrors.ErrInvalidMapping} {
		if errors.Is(err, e) {
			return true
		}
	}
	return err != nil && strings.Contains(err.Error(), "file size too small")
}

// open makes sure that the whole file is there and readable, and fills a new one.
func (d database) open(tx *bbolt.Tx, file *os.File) (*bucket, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if tx.Size() > info.Size() {
		return nil, damaged{fmt.Errorf("%d bytes of %d", info.Size(), tx.Size())}
	}
	b := &bucket{b: tx.Bucket(bucketIPAM)}
	if b.b != nil {
		return b, b.load()
	}
	if b.b, err = tx.CreateBucket(bucketIPAM); err != nil {
		return nil, fmt.Errorf("fill the address database: %w", err)
	}
	found, err := d.inUse()
	if err != nil {
		return nil, fmt.Errorf("fill a new address database: %w", err)
	}
	for k, owner := range found {
		if err := b.put(k, owner); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// lock opens the file and waits for the lock on it. The file may be set aside meanwhile:
// then the lock is worth nothing, and the new file is opened.
func (d database) lock() (*os.File, error) {
	end := time.Now().Add(d.wait)
	for {
		f, err := os.OpenFile(d.path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("open the address database: %w", err)
		}
		if err := flock(f, time.Until(end)); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, plugin.TryAgain("the address database %s has been locked by another process for %s", d.path, d.wait)
			}
			return nil, fmt.Errorf("lock the address database: %w", err)
		}
		same, err := d.named(f)
		if same {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("open the address database: %w", err)
		}
	}
}

// flock waits for the kernel to grant the lock: it is handed over at once, where asking
// again and again costs both sides time. The file is closed when there is an error; one
// whose lock is given up is closed once the kernel has granted it, or with the process.
func flock(f *os.File, wait time.Duration) error {
	fd := int(f.Fd())
	try := func(how int) error {
		for {
			if err := unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	}
	if err := try(unix.LOCK_EX | unix.LOCK_NB); err == nil {
		return nil
	} else if !errors.Is(err, unix.EWOULDBLOCK) {
		return errors.Join(err, f.Close())
	}
	granted, givenUp := make(chan error), make(chan struct{})
	go func() {
		err := try(unix.LOCK_EX)
		select {
		case granted <- err:
		case <-givenUp:
			_ = f.Close() // and with it the lock that nobody wants any more
		}
	}()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case err := <-granted:
		if err != nil {
			return errors.Join(err, f.Close())
		}
		return nil
	case <-timer.C:
		close(givenUp)
		return os.ErrDeadlineExceeded
	}
}

// bucket is the table in the file.
type bucket struct {
	b        *bbolt.Bucket
	revision uint64
}

// load reads every entry, which finds damage, and the newest revision.
func (b *bucket) load() error {
	return b.b.ForEach(func(k, v []byte) error {
		if len(v) < revisionBytes {
			return damaged{fmt.Errorf("entry %q has %d bytes", k, len(v))}
		}
		b.revision = max(b.revision, binary.LittleEndian.Uint64(v))
		return nil
	})
}

func (b *bucket) get(key string) (string, bool) {
	v := b.b.Get([]byte(key))
	if len(v) < revisionBytes {
		return "", false
	}
	return string(v[revisionBytes:]), true
}

func (b *bucket) put(key, value string) error {
	b.revision++
	v := append(binary.LittleEndian.AppendUint64(make([]byte, 0, revisionBytes+len(value)), b.revision), value...)
	if err := b.b.Put([]byte(key), v); err != nil {
		return fmt.Errorf("write %s to the address database: %w", key, err)
	}
	return nil
}

func (b *bucket) delete(key string) error {
	if err := b.b.Delete([]byte(key)); err != nil {
		return fmt.Errorf("delete %s from the address database: %w", key, err)
	}
	return nil
}

func (b *bucket) each(f func(key, value string) bool) error {
	c := b.b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if len(v) >= revisionBytes && !f(string(k), string(v[revisionBytes:])) {
			return nil
		}
	}
	return nil
}
