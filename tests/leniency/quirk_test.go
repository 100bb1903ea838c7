package leniency

import (
	"archive/tar"
	"fmt"
	"net/http"
	"slices"
	"time"

	"thinctl/internal/testkit/imagetest"
)

// form is the form in which programs get a row's image.
type form string

const (
	dockerArchive form = "docker save"
	layoutArchive form = "OCI archive"
	layoutDir     form = "OCI directory"
	registry      form = "registry"
)

// quirk is a row of the table. Each function changes the result of the one before; nil
// changes nothing.
type quirk struct {
	name  string // of the row and of its image: lower case, digits and hyphens
	form  form
	draft func(*draft)                               // the image
	parts func(*imagetest.Parts)                     // manifests and blobs by digest
	files func([]imagetest.File) []imagetest.File    // the archive's files
	pack  func([]byte) ([]byte, error)               // the archive
	serve func(http.Handler) http.Handler            // the registry
	login string                                     // the text of Docker's config.json
	away  string                                     // where a registry at a private address has its blobs, HOST:PORT
	ref   func(draft *draft, registry string) string // what programs pull, by default the tag

	copies  bool   // hard links may become copies, as Docker made them of aufs's links
	hostile bool   // every program should refuse it
	reason  string // why thinctl refuses what another program accepts, or why the row is hostile
}

// draft is an image and the tree that its root must have.
type draft struct {
	imagetest.Draft
	name   string
	shown  []imagetest.Layer // the layers by their meaning, whatever their bytes
	faults []error
}

var when = time.Date(2015, 6, 7, 8, 9, 10, 0, time.UTC)

// newDraft returns an image of one layer, with contents that no other row has.
func newDraft(q quirk) *draft {
	d := &draft{name: q.name, Draft: imagetest.Draft{
		Names: []string{q.image()},
		Config: map[string]any{
			"architecture": "amd64", "os": "linux", "created": "2015-06-07T08:09:10Z",
			"config": map[string]any{"Cmd": []string{"/hello"}},
		},
		ConfigType: imagetest.OCIConfig, ManifestType: imagetest.OCIManifest,
	}}
	d.add(dir("etc"), file("etc/name", "the image "+q.name+"\n"), file("hello", "hello\n"))
	return d
}

func (q quirk) image() string { return "quirk.test/" + q.name + ":1" }

// add adds a layer as programs usually write it.
func (d *draft) add(entries ...imagetest.Entry) {
	l := imagetest.Layer{Entries: entries}
	text, err := l.Bytes()
	d.fault(err)
	d.addRaw(text, entries...)
}

// addRaw adds a layer of these bytes, which stand for these entries.
func (d *draft) addRaw(text []byte, entries ...imagetest.Entry) {
	d.Layers = append(d.Layers, imagetest.DraftLayer{Tar: text, MediaType: imagetest.OCILayer})
	d.shown = append(d.shown, imagetest.Layer{Entries: entries})
}

// addMembers adds a layer of these members.
func (d *draft) addMembers(members []member, entries ...imagetest.Entry) {
	d.addRaw(slices.Concat(d.membersOf(members...), imagetest.EndOfTar()), entries...)
}

// own returns a file by which a layer differs from those of other rows.
func (d *draft) own(layer string) imagetest.Entry {
	return file("own-"+layer, d.name+", "+layer+"\n")
}

func (d *draft) membersOf(members ...member) (text []byte) {
	for _, m := range members {
		out, err := m.bytes()
		d.fault(err)
		text = append(text, out...)
	}
	return text
}

func (d *draft) last() *imagetest.DraftLayer { return &d.Layers[len(d.Layers)-1] }

// stored compresses the last layer.
func (d *draft) stored(pack func([]byte) ([]byte, error)) {
	blob, err := pack(d.last().Tar)
	d.fault(err)
	d.last().Blob = blob
}

func (d *draft) fault(err error) {
	if err != nil {
		d.faults = append(d.faults, err)
	}
}

// tree returns the tree that the image's root must have.
func (d *draft) tree() (imagetest.Tree, error) {
	t, err := imagetest.Image{Layers: d.shown}.Tree()
	return t.Without(imagetest.Times), err
}

func file(name, text string) imagetest.Entry {
	return imagetest.Entry{Path: name, Type: tar.TypeReg, Mode: 0o644, Time: when, Content: imagetest.Content{Text: text}}
}

func dir(name string) imagetest.Entry {
	return imagetest.Entry{Path: name, Type: tar.TypeDir, Mode: 0o755, Time: when}
}

func symlink(name, to string) imagetest.Entry {
	return imagetest.Entry{Path: name, Type: tar.TypeSymlink, Mode: 0o777, Time: when, Link: to}
}

func link(name, to string) imagetest.Entry {
	return imagetest.Entry{Path: name, Type: tar.TypeLink, Mode: 0o644, Time: when, Link: to}
}

// quirks returns all rows.
func quirks() []quirk {
	return slices.Concat(archiveQuirks(), packedQuirks(), layoutQuirks(), streamQuirks(), tarQuirks(), registryQuirks(),
		hostileQuirks())
}

// made is a row's input, complete.
type made struct {
	source  *draft
	tree    imagetest.Tree
	served  imagetest.Parts
	entries []imagetest.File
	archive []byte
}

func (q quirk) make() (made, error) {
	m := made{source: newDraft(q)}
	if q.form == registry {
		m.source.stored(gzipped)
		m.source.last().MediaType += "+gzip"
	}
	if q.draft != nil {
		q.draft(m.source)
	}
	var err error
	if m.tree, err = m.source.tree(); err != nil && !q.hostile {
		return m, fmt.Errorf("%s: the expected tree: %w", q.name, err)
	}
	m.served = m.source.Parts()
	if q.parts != nil {
		q.parts(&m.served)
	}
	m.entries = m.source.DockerFiles()
	if q.form != dockerArchive {
		m.entries = m.source.LayoutFiles(m.served)
	}
	if q.files != nil {
		m.entries = q.files(m.entries)
	}
	if m.archive, err = imagetest.Tar(m.entries...); err != nil {
		return m, fmt.Errorf("%s: %w", q.name, err)
	}
	if q.pack != nil {
		if m.archive, err = q.pack(m.archive); err != nil {
			return m, fmt.Errorf("%s: %w", q.name, err)
		}
	}
	if len(m.source.faults) > 0 {
		return m, fmt.Errorf("%s: %w", q.name, m.source.faults[0])
	}
	return m, nil
}
