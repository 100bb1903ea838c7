package output

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// listing writes a result that may be too long for memory: items between a head and a tail. It is
// one JSON object with the items under name, or a table with columns of a fixed width.
type listing struct {
	w     *bufio.Writer
	json  bool
	items int
}

const columnWidth = 17

// WriteListing writes the fields of head, the items that each passes to add, and the tail that
// each returns.
func WriteListing(w io.Writer, asJSON bool, head any, name string, columns []any,
	each func(add func(item any, cells ...any) error) (Tail, error)) error {
	l := &listing{w: bufio.NewWriterSize(w, 64<<10), json: asJSON}
	if err := l.begin(head, name, columns); err != nil {
		return err
	}
	end, err := each(l.add)
	if err != nil && l.items == 0 {
		return err // nothing was listed
	}
	if err == nil {
		err = l.end(end)
	}
	if flushed := l.w.Flush(); err == nil {
		err = flushed
	}
	return err
}

// Tail is the end of a listing.
type Tail interface{ Write(w io.Writer) }

func (l *listing) begin(head any, name string, columns []any) error {
	if !l.json {
		return l.row(columns)
	}
	b, err := json.Marshal(head)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(l.w, "%s,\n%q:[", bytes.TrimSuffix(b, []byte("}")), name)
	return err
}

func (l *listing) add(item any, cells ...any) error {
	l.items++
	if !l.json {
		return l.row(cells)
	}
	b, err := json.Marshal(item)
	if err != nil {
		return err
	}
	if l.items > 1 {
		l.w.WriteByte(',')
	}
	l.w.WriteByte('\n')
	_, err = l.w.Write(b)
	return err
}

func (l *listing) row(cells []any) error {
	for _, cell := range cells[:len(cells)-1] {
		fmt.Fprintf(l.w, "%-*v ", columnWidth, cell)
	}
	_, err := fmt.Fprintln(l.w, cells[len(cells)-1])
	return err
}

func (l *listing) end(end Tail) error {
	if !l.json {
		end.Write(l.w)
		return nil
	}
	b, err := json.Marshal(end)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(l.w, "\n],\n%s\n", bytes.TrimPrefix(b, []byte("{")))
	return err
}
