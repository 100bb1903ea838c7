// Command pictures draws the pictures of a run of tests/oncall: pictures RECORD DIR.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"thinctl/tests/oncall"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "pictures RECORD DIR")
		os.Exit(2)
	}
	if err := draw(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func draw(from, dir string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	// After the record comes the rest of the disk that it was written to.
	var record oncall.Record
	if err := json.NewDecoder(file).Decode(&record); err != nil {
		return fmt.Errorf("reading %s: %w", from, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range record.Pictures {
		path := filepath.Join(dir, p.Name+".svg")
		out, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := errors.Join(p.SVG(out), out.Close()); err != nil {
			return err
		}
		fmt.Println(path)
	}
	return nil
}
