package filelock

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The kinds of locks, as the kernel names them in /proc.
const (
	rangeLock = "OFDLCK"
	wholeLock = "FLOCK"
)

// holders lists the processes that hold a lock on a part of span, as
// ` (process 7, "thinctl serve")`; "" if /proc shows none. /proc/locks has no process
// for the lock of an open file, so holders reads the fdinfo of all processes
// (Documentation/filesystems/proc.rst).
func holders(path, kind string, span Range) string {
	at, err := os.Stat(path)
	if err != nil {
		return ""
	}
	infos, _ := filepath.Glob("/proc/[0-9]*/fdinfo/*") // it fails only for a bad pattern
	var found []string
	for _, info := range infos {
		text, err := os.ReadFile(info)
		if err != nil || !locks(text, kind, span) {
			continue
		}
		process := filepath.Dir(filepath.Dir(info))
		opened, err := os.Stat(filepath.Join(process, "fd", filepath.Base(info)))
		if err != nil || !os.SameFile(at, opened) {
			continue
		}
		if who := describe(process); !slices.Contains(found, who) {
			found = append(found, who)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return " (" + strings.Join(found, "; ") + ")"
}

func describe(process string) string {
	id := filepath.Base(process)
	if id == strconv.Itoa(os.Getpid()) {
		return "this process, " + id
	}
	const most = 80
	words, _ := os.ReadFile(filepath.Join(process, "cmdline")) // if it fails, the process id must do
	line := strings.ToValidUTF8(string(bytes.TrimSpace(bytes.ReplaceAll(words, []byte{0}, []byte{' '}))), "?")
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "..."
	}
	return strings.TrimSuffix(fmt.Sprintf("process %s, %q", id, line), `, ""`)
}

// locks reports whether the fdinfo of a file shows a lock on a part of span.
func locks(text []byte, kind string, span Range) bool {
	for line := range strings.Lines(string(text)) {
		// lock:	1: OFDLCK  ADVISORY  WRITE -1 fe:00:1234 3 3
		words := strings.Fields(line)
		if len(words) != 9 || words[0] != "lock:" || words[2] != kind {
			continue
		}
		first, err := strconv.ParseInt(words[7], 10, 64)
		if err != nil {
			continue
		}
		last, err := strconv.ParseInt(words[8], 10, 64)
		toEnd := err != nil // "EOF"
		if (toEnd || last >= span.Start) && (span.Length == 0 || first < span.Start+span.Length) {
			return true
		}
	}
	return false
}
