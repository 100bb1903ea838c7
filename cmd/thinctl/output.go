package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"thinctl/units"
)

// schemaVersion is raised when a field of the JSON changes its meaning or goes;
// new fields do not raise it.
const schemaVersion = 1

// envelope begins every JSON result.
type envelope struct {
	SchemaVersion int `json:"schema_version"`
}

func schema() envelope { return envelope{SchemaVersion: schemaVersion} }

func writeJSON(w io.Writer, view any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(view)
}

// writeTable writes text, whose tabs become columns.
func writeTable(w io.Writer, text func(w io.Writer)) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	text(table)
	return table.Flush()
}

func row(w io.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			io.WriteString(w, "\t")
		}
		fmt.Fprint(w, orDash(fmt.Sprint(cell)))
	}
	io.WriteString(w, "\n")
}

// fact is one line of a status.
func fact(w io.Writer, name string, value any) {
	fmt.Fprintf(w, "%s:\t%v\n", name, orDash(fmt.Sprint(value)))
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// size writes what may be unknown.
func size(b *units.Bytes) string {
	if b == nil {
		return "unknown"
	}
	return b.String()
}

func usedOf(used *units.Bytes, total units.Bytes) string {
	if used == nil {
		return "- / " + total.String()
	}
	return fmt.Sprintf("%s / %s (%s)", *used, total, percent(*used, total))
}

func percent(part, whole units.Bytes) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(whole))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func sentence(parts ...string) string { return strings.Join(parts, ", ") }
