package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

func restoreCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "restore", Args: "XML TARGET", Usage: "write metadata from an XML dump",
		About: "XML is the output of `metadata dump` or thin_dump; - is standard input. TARGET is a new file, an empty " +
			"file, or an empty block device. " +
			"The XML is read twice: nothing is written unless all of it is valid. A pipe is read once. " +
			"A file is twice as large as the XML needs, at least 2M, and fully allocated. XML does not have the uuid of " +
			"the pool.",
		Flags: append(sizeFlags(),
			&cli.Uint64Flag{Name: "data-blocks", Usage: "`NUMBER` of blocks of the data device, instead of the XML's"},
			&cli.BoolFlag{Name: "force", Usage: "overwrite TARGET, unless it is in use"}, command.DryRunFlag()),
		Run: restoreMetadata,
	})
}

// leastMetadata is the minimum size in the kernel's documentation
// (Documentation/admin-guide/device-mapper/thin-provisioning.rst).
const leastMetadata = 2 * units.MiB

func restoreMetadata(c *command.Call) error {
	asked, err := askedBlocks(c)
	if err != nil {
		return err
	}
	o := metadata.RestoreOptions{MetadataBlocks: asked, DataBlocks: c.Flags.Uint64("data-blocks")}
	xml, err := openXML(c, c.Arg(0))
	if err != nil {
		return metadataRemedy(c.Arg(0), err)
	}
	defer xml.close()
	t, err := restoreTo(c, xml, c.Arg(1), o)
	if err != nil {
		return metadataRemedy(c.Arg(1), err)
	}
	return c.Show(t, t.write)
}

// xmlSource is the XML input. A pipe can be read only once.
type xmlSource struct {
	io.Reader
	path string
	file *os.File // nil for a pipe
	own  bool
}

func openXML(c *command.Call, path string) (*xmlSource, error) {
	d := &xmlSource{Reader: c.In, path: path}
	if path == "-" {
		d.path = "standard input"
		if file, ok := c.In.(*os.File); ok {
			if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
				d.file = file
			}
		}
		return d, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open XML %s: %w", path, err)
	}
	d.Reader, d.own = file, true
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		d.file = file
	}
	return d, nil
}

func (d *xmlSource) close() {
	if file, ok := d.Reader.(*os.File); ok && d.own {
		file.Close()
	}
}

func (d *xmlSource) about(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("XML %s: %w", d.path, err)
}

// needs reads all of the XML and returns the number of blocks that it needs. It rewinds the input
// unless it is a pipe.
func (d *xmlSource) needs(ctx context.Context, o metadata.RestoreOptions) (need uint64, err error) {
	from := int64(0)
	if d.file != nil {
		if from, err = d.file.Seek(0, io.SeekCurrent); err != nil {
			return 0, err
		}
	}
	o.MetadataBlocks = 1
	_, err = metadata.Restore(ctx, d, noTarget{}, o)
	var space *metadata.SpaceError
	if !errors.As(err, &space) {
		return 0, d.about(err)
	}
	if d.file != nil {
		_, err = d.file.Seek(from, io.SeekStart)
		return space.Need, err
	}
	return space.Need, nil
}

// noTarget discards everything that is written to it.
type noTarget struct{}

func (noTarget) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

type restoredView struct {
	output.Envelope
	DryRun bool `json:"dry_run"`
	writtenView
}

// writtenView is the JSON of new metadata. A dry run has only the size.
type writtenView struct {
	Path           string       `json:"path"`
	MetadataBlocks uint64       `json:"metadata_blocks"`
	MetadataBytes  units.Bytes  `json:"metadata_bytes"`
	MetadataUsed   *units.Bytes `json:"metadata_used_bytes,omitempty"`
	BlockBytes     units.Bytes  `json:"block_bytes,omitempty"`
	DataTotal      *units.Bytes `json:"data_total_bytes,omitempty"`
	DataUsed       *units.Bytes `json:"data_used_bytes,omitempty"`
	NeedsCheck     *bool        `json:"needs_check,omitempty"`
}

func newWrittenView(path string, s metadata.Superblock) writtenView {
	block, check := s.DataBlockSize.Bytes(), s.NeedsCheck()
	used, total, dataUsed := times(s.MetadataSpaceMap.Allocated, metadata.BlockSize),
		times(s.DataSpaceMap.Blocks, block), times(s.DataSpaceMap.Allocated, block)
	return writtenView{Path: path, MetadataBlocks: s.MetadataSpaceMap.Blocks,
		MetadataBytes: times(s.MetadataSpaceMap.Blocks, metadata.BlockSize),
		MetadataUsed:  &used, BlockBytes: block, DataTotal: &total, DataUsed: &dataUsed, NeedsCheck: &check}
}

func (v *restoredView) write(w io.Writer) {
	if v.DryRun {
		fmt.Fprintf(w, "would write metadata of %s to %s\n", v.MetadataBytes, v.Path)
		return
	}
	output.Field(w, "Metadata", v.Path)
	output.Field(w, "Metadata Space", output.UsedOf(v.MetadataUsed, v.MetadataBytes))
	output.Field(w, "Data Space", output.UsedOf(v.DataUsed, *v.DataTotal))
	output.Field(w, "Needs Check", output.YesNo(*v.NeedsCheck))
}

func restoreTo(c *command.Call, xml *xmlSource, path string, o metadata.RestoreOptions) (_ *restoredView, err error) {
	t, err := openDestination(c, path, c.Flags.Bool("force"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if xml.file != nil {
		if from, err := xml.file.Stat(); err != nil {
			return nil, err
		} else if to, err := t.Stat(); err != nil || os.SameFile(from, to) {
			return nil, errors.Join(err, c.Misuse("%s is both the XML and the target", path))
		}
	}
	done := c.Progress("restoring metadata %s", path)
	defer done()
	if o.MetadataBlocks, err = chooseBlocks(c, xml, t, o); err != nil {
		return nil, err
	}
	if c.Flags.Bool("dry-run") {
		size := times(o.MetadataBlocks, metadata.BlockSize)
		return &restoredView{output.Schema(), true, writtenView{Path: path, MetadataBlocks: o.MetadataBlocks,
			MetadataBytes: size}}, nil
	}
	if err := t.begin(o.MetadataBlocks); err != nil {
		return nil, err
	}
	s, err := metadata.Restore(c.Ctx, xml, t, o)
	if err != nil {
		return nil, xml.about(err)
	}
	if err := t.commit(); err != nil {
		return nil, err
	}
	return &restoredView{output.Schema(), false, newWrittenView(path, s)}, nil
}

// chooseBlocks returns the number of blocks of the metadata, and fails if the XML does not fit.
func chooseBlocks(c *command.Call, xml *xmlSource, t *destination, o metadata.RestoreOptions) (uint64, error) {
	blocks := o.MetadataBlocks
	if blocks == 0 {
		blocks = t.capacity
	}
	if xml.file == nil && blocks == 0 {
		return 0, c.Misuse("the size of %s is unknown while the XML comes from a pipe: use --size, or a file", t.path)
	}
	if xml.file == nil && !c.Flags.Bool("dry-run") {
		return blocks, nil
	}
	need, err := xml.needs(c.Ctx, o)
	switch {
	case err != nil:
		return 0, err
	case blocks == 0 && need <= metadata.MaxBlocks:
		return min(max(2*need, uint64(leastMetadata/metadata.BlockSize)), metadata.MaxBlocks), nil
	case blocks < need:
		return 0, xml.about(&metadata.SpaceError{Need: need, Have: blocks})
	}
	return blocks, nil
}
