// Command zip packs files for Windows: the same files give the same archive, byte for byte.
//
//	zip -time SECONDS -o ARCHIVE NAME=FILE...
package main

import (
	"archive/zip"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	created := flag.String("time", "0", "seconds since 1970 (SOURCE_DATE_EPOCH), the time of every file")
	output := flag.String("o", "", "the archive to write")
	flag.Parse()
	if err := run(*created, *output, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "zip:", err)
		os.Exit(1)
	}
}

// earliest is the first time that the format knows.
var earliest = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func run(created, output string, files []string) (err error) {
	seconds, err := strconv.ParseInt(created, 10, 64)
	if err != nil {
		return fmt.Errorf("-time %q: want seconds since 1970", created)
	}
	at := time.Unix(seconds, 0).UTC()
	if at.Before(earliest) {
		at = earliest
	}
	f, err := os.Create(output)
	if err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := zip.NewWriter(f)
	for _, pair := range slices.Sorted(slices.Values(files)) {
		name, from, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return fmt.Errorf("%q: want NAME=FILE", pair)
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("read what is packed: %w", err)
		}
		if ext := name[strings.LastIndexByte(name, '.')+1:]; ext == "txt" || ext == "ps1" {
			// As Windows' own programs read it.
			content = []byte(strings.ReplaceAll(strings.ReplaceAll(string(content), "\r\n", "\n"), "\n", "\r\n"))
		}
		entry, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: at})
		if err == nil {
			_, err = entry.Write(content)
		}
		if err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("finish the archive: %w", err)
	}
	return nil
}
