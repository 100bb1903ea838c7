package poweroff

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"thinctl/internal/testkit/thinpooltest"
)

// record is one sector of the journal.
type record struct {
	thinpooltest.Act
	Image imageAct `json:"image,omitzero"` // instead of the volumes' Act
	State string   `json:"state"`          // one of the states
}

const (
	begun        = "begun"
	acknowledged = "acknowledged"
	undone       = "undone"
)

const sectorSize = 512

// line is a record as it is written to its sector, without the padding.
func (r record) line() ([]byte, error) {
	line, err := json.Marshal(r)
	if err == nil && len(line) >= sectorSize {
		err = fmt.Errorf("a journal record of %d bytes", len(line))
	}
	return line, err
}

// readRecords reads a journal up to the first sector that was never written.
func readRecords(from io.Reader) ([]record, error) {
	var records []record
	sector := make([]byte, sectorSize)
	for {
		_, err := io.ReadFull(from, sector)
		if errors.Is(err, io.EOF) || err == nil && sector[0] == 0 {
			return records, nil
		}
		var r record
		if err == nil {
			err = json.Unmarshal(bytes.TrimRight(sector, "\n"), &r)
		}
		if err != nil {
			return nil, fmt.Errorf("journal, sector %d: %w", len(records), err)
		}
		records = append(records, r)
	}
}

// ledgerOf returns the ledger that follows from the records of volumes after begin.
func ledgerOf(records []record) *thinpooltest.Ledger {
	ledger := thinpooltest.NewGoldenLedger()
	for _, r := range records {
		if r.Image != (imageAct{}) {
			continue
		}
		switch r.State {
		case begun:
			ledger.Begin(r.Act)
		case acknowledged:
			ledger.Done(r.Act)
		case undone:
			ledger.Undone(r.Client)
		}
	}
	return ledger
}

// journal is the guest's side of the journal.
type journal struct {
	mu   sync.Mutex
	file *os.File
	next int64
	page []byte
}

// openJournal opens the disk and goes past the records on it.
func openJournal(path string) (*journal, []record, error) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT|unix.O_DSYNC|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	// The disk is read through the page cache, sector by sector.
	reader, err := os.Open(path)
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	defer reader.Close()
	records, err := readRecords(reader)
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	const boundary = 4096
	page := make([]byte, sectorSize+boundary)
	page = page[-uintptr(unsafe.Pointer(unsafe.SliceData(page)))%boundary:][:sectorSize]
	return &journal{file: file, next: int64(len(records)), page: page}, records, nil
}

// write writes a record to the disk, and prints it if it is an acknowledgement.
func (j *journal) write(r record) error {
	line, err := r.line()
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	n := copy(j.page, line)
	for i := n; i < len(j.page); i++ {
		j.page[i] = '\n'
	}
	if _, err := j.file.WriteAt(j.page, j.next*sectorSize); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.next++
	if r.State == acknowledged {
		fmt.Printf("%s\n", line)
	}
	return nil
}

func (j *journal) note(act thinpooltest.Act, done bool) error {
	if done {
		return j.write(record{Act: act, State: acknowledged})
	}
	return j.write(record{Act: act, State: begun})
}

func (j *journal) noteImage(act imageAct, state string) error {
	return j.write(record{Image: act, State: state})
}
