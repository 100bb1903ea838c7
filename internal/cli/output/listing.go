package output

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// listing writes a result that may be too long to be held: items as they come,
// between a head and a tail. It is one JSON object with the items under name,
// or a table whose columns have a fixed width.
type listing struct {
	w     *bufio.Writer
	json  bool
	items int
}

const columnWidth = 17

// WriteListing writes head's fields, the items that each gives to add, and the
// fields of what each returns, or what that writes as text.
func WriteListing(w io.Writer, asJSON bool, head any, name string, columns []any, each func(add func(item any, cells ...any) error) (Tail, error)) error {
	l := &listing{w: bufio.NewWriterSize(w, 64<<10), json: asJSON}
	if err := l.begin(head, name, columns); err != nil {
		return err
	}
	end, err := each(l.add)
	if err != nil && l.items == 0 {
		return err // nothing is listed
	}
	if err == nil {
		err = l.end(end)
	}
	if flushed := l.w.Flush(); err == nil {
		err = flushed
	}
	return err
}

// Tail ends a listing.
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
