// Package output writes results: tables, trees and JSON, to standard output or to a new file.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"thinctl/units"
)

// SortedKeys returns the keys of a map in order.
func SortedKeys(m map[string]string) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// schemaVersion is raised when a field of the JSON changes its meaning or is removed. New fields
// do not raise it.
const schemaVersion = 1

// Envelope is the start of every JSON result.
type Envelope struct {
	SchemaVersion int `json:"schema_version"`
}

// Schema returns the start of a JSON result.
func Schema() Envelope { return Envelope{SchemaVersion: schemaVersion} }

// WriteJSON writes indented JSON.
func WriteJSON(w io.Writer, view any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(view)
}

// WriteTable writes the output of text, whose tabs become columns.
func WriteTable(w io.Writer, text func(w io.Writer)) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	text(table)
	return table.Flush()
}

// Row writes one line of a table.
func Row(w io.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, orDash(fmt.Sprint(cell)))
	}
	fmt.Fprint(w, "\n")
}

// Field writes one line of a status.
func Field(w io.Writer, name string, value any) {
	fmt.Fprintf(w, "%s:\t%v\n", name, orDash(fmt.Sprint(value)))
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// Size formats a size that may be unknown.
func Size(b *units.Bytes) string {
	if b == nil {
		return "unknown"
	}
	return b.String()
}

// UsedOf formats the used part of a total.
func UsedOf(used *units.Bytes, total units.Bytes) string {
	if used == nil {
		return "- / " + total.String()
	}
	return fmt.Sprintf("%s / %s (%s)", *used, total, Percent(*used, total))
}

// Percent formats a share.
func Percent(part, whole units.Bytes) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(whole))
}

// Stamp formats a time in UTC.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// YesNo formats a bool.
func YesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// Plural formats a number with its noun.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Sentence joins parts with commas.
func Sentence(parts ...string) string { return strings.Join(parts, ", ") }

// Removed returns the clause that these objects are removed.
func Removed(names []string) string {
	if len(names) == 1 {
		return names[0] + " is removed"
	}
	return Sentence(names...) + " are removed together"
}
