package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool/metadata"
	"thinctl/units"
)

func (a *app) metadataDump() *cli.Command {
	return a.leaf(leaf{
		name: "dump", args: "FILE", usage: "write all of it as XML, as thin_dump does",
		about: "The XML goes to standard output, whatever --json says, or to a new file. The pool's uuid is not in it. " +
			"Damaged metadata is not dumped: what was written before the damage was met has no end tag.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to a new `FILE`, which appears once it is whole"},
			&cli.StringSliceFlag{Name: "device", Usage: "only the thin device of this `ID`; several as 1,2 or repeated"},
			&cli.BoolFlag{Name: "skip-mappings", Usage: "leave the devices empty"},
			heldFlag(),
		},
		run: (*call).dumpMetadata,
	})
}

func (c *call) dumpMetadata() error {
	ids, err := c.deviceIDs("device")
	if err != nil {
		return err
	}
	o := metadata.DumpOptions{Devices: ids, SkipMappings: c.flags.Bool("skip-mappings")}
	path := c.flags.String("output")
	if c.flags.IsSet("output") && path == "" {
		return c.misuse("--output has no name")
	}
	return c.onMetadata(c.arg(0), func(s *source) error {
		o.DataBlocks = s.dataBlocks()
		if path == "" {
			return s.about(c.dump(s, c.out, o))
		}
		return c.dumpTo(s, path, o)
	})
}

// dump tells how far it is until there is something to see.
func (c *call) dump(s *source, w io.Writer, o metadata.DumpOptions) error {
	read, done := c.reading("reading metadata %s", s.path)
	defer done()
	o.Progress = read
	return metadata.Dump(c.ctx, writerFunc(func(b []byte) (int, error) {
		done()
		return w.Write(b)
	}), s, s.root, o)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func (c *call) dumpTo(s *source, path string, o metadata.DumpOptions) (err error) {
	file, err := createFile(path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := s.finish(c.dump(s, file, o)); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := file.commit(); err != nil {
		return err
	}
	size := units.Bytes(info.Size())
	return c.show(struct {
		envelope
		Path   string      `json:"path"`
		Output string      `json:"output"`
		Bytes  units.Bytes `json:"bytes"`
	}{schema(), s.path, path, size}, func(w io.Writer) {
		fmt.Fprintf(w, "metadata %s: dumped to %s, %s\n", s.path, path, size)
	})
}
