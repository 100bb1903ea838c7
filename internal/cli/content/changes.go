package content

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"thinctl/internal/changes"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/units"
)

// DiffFlags returns the flags of commands that list changes.
func DiffFlags() []cli.Flag {
	return []cli.Flag{&cli.StringFlag{Name: "tar",
		Usage: "write the changes as the tar of an OCI layer to a new `FILE`; - is standard output"}}
}

// ChangesView is the list of differences between two trees.
type ChangesView struct {
	output.PoolHead
	Lower    string       `json:"lower,omitempty"`
	Upper    string       `json:"upper"`
	Changes  []changeView `json:"changes"`
	Added    int          `json:"added"`
	Modified int          `json:"modified"`
	Deleted  int          `json:"deleted"`
	Size     units.Bytes  `json:"size_bytes"` // of the files that were added or modified
}

type changeView struct {
	Kind string `json:"kind"`
	Path string `json:"path"`
	// Bytes is the path if it is not valid UTF-8.
	Bytes    []byte      `json:"path_bytes,omitempty"`
	Mode     string      `json:"mode"`
	UID      uint32      `json:"uid"`
	GID      uint32      `json:"gid"`
	Size     units.Bytes `json:"size_bytes"`
	Modified time.Time   `json:"modified"`
}

func newChangeView(c changes.Change) changeView {
	v := changeView{Kind: c.Kind.String(), Path: c.Path, Mode: c.Mode.String(), UID: c.UID, GID: c.GID, Size: c.Size,
		Modified: c.ModTime.UTC()}
	if !utf8.ValidString(c.Path) {
		v.Path, v.Bytes = strings.ToValidUTF8(c.Path, "\uFFFD"), []byte(c.Path)
	}
	return v
}

// Diff prints the differences between two trees, or writes them as a layer.
func Diff(c *command.Call, store *images.Store, view ChangesView, walk func(func(changes.Change) error) error,
	write func(io.Writer) error) error {
	view.PoolHead = command.HeadOf(store)
	if c.Flags.IsSet("tar") {
		tar := NewSavedView(view.PoolHead, "changes")
		return ToFile(c, "tar", &tar, func(w io.Writer) error {
			done := c.Progress("writing the changes")
			defer done()
			return write(w)
		})
	}
	done := c.Progress("comparing")
	var found []changes.Change
	var total changes.Total
	err := walk(func(change changes.Change) error {
		found = append(found, change)
		total.Add(change)
		return nil
	})
	done()
	if err != nil {
		return err
	}
	if !c.Flags.Bool("json") {
		return writeChanges(c.Out, found)
	}
	view.Added, view.Modified, view.Deleted, view.Size = total.Added, total.Modified, total.Deleted, total.Size
	view.Changes = make([]changeView, 0, len(found))
	for _, change := range found {
		view.Changes = append(view.Changes, newChangeView(change))
	}
	return c.Show(view, nil)
}

func writeChanges(w io.Writer, all []changes.Change) error {
	b := bufio.NewWriter(w)
	for _, change := range all {
		fmt.Fprintln(b, change)
	}
	return b.Flush()
}
