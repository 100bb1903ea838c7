package metadata

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/internal/newfile"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

func dumpCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "dump", Args: "FILE", Usage: "write metadata as XML, as thin_dump does",
		About: "The XML goes to standard output, also with --json, or to a new file. It does not have the pool's uuid. " +
			"Damaged metadata is not dumped: the output stops at the damage, without an end tag.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"},
				Usage: "write to a new `FILE`, which appears when it is complete"},
			&cli.StringSliceFlag{Name: "device", Usage: "dump only the thin device with this `ID`; may be 1,2 or repeated"},
			&cli.BoolFlag{Name: "skip-mappings", Usage: "leave out the mappings of the devices"},
			heldFlag(),
		},
		Run: dumpMetadata,
	})
}

func dumpMetadata(c *command.Call) error {
	ids, err := deviceIDs(c, "device")
	if err != nil {
		return err
	}
	o := metadata.DumpOptions{Devices: ids, SkipMappings: c.Flags.Bool("skip-mappings")}
	path := c.Flags.String("output")
	if c.Flags.IsSet("output") && path == "" {
		return c.Misuse("--output needs a file name")
	}
	return onMetadata(c, c.Arg(0), func(s *source) error {
		o.DataBlocks = s.dataBlocks()
		if path == "" {
			return s.about(dump(c, s, c.Out, o))
		}
		return dumpTo(c, s, path, o)
	})
}

// dump writes XML, and shows progress until the first output.
func dump(c *command.Call, s *source, w io.Writer, o metadata.DumpOptions) error {
	read, done := c.Reading("reading metadata %s", s.path)
	defer done()
	o.Progress = read
	return metadata.Dump(c.Ctx, writerFunc(func(b []byte) (int, error) {
		done()
		return w.Write(b)
	}), s, s.root, o)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func dumpTo(c *command.Call, s *source, path string, o metadata.DumpOptions) (err error) {
	file, err := newfile.Create(path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := s.finish(dump(c, s, file, o)); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := file.Commit(); err != nil {
		return err
	}
	size := units.Bytes(info.Size())
	return c.Show(struct {
		output.Envelope
		Path   string      `json:"path"`
		Output string      `json:"output"`
		Bytes  units.Bytes `json:"bytes"`
	}{output.Schema(), s.path, path, size}, func(w io.Writer) {
		fmt.Fprintf(w, "metadata %s: dumped to %s, %s\n", s.path, path, size)
	})
}
