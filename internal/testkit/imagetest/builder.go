package imagetest

import (
	"archive/tar"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"time"
)

// epoch is the modification time of the first file in each image.
var epoch = time.Date(2014, 9, 25, 10, 30, 0, 0, time.UTC)

// builder builds layers. Each layer has entries for the directories above its changes.
type builder struct {
	random *rand.Rand
	dirs   map[string]Entry // the directories of the image so far
	files  map[string]Entry // the current layer's entries other than directories
	listed map[string]bool  // the directories with an entry in the current layer
	layer  []Entry          // the current layer
	layers []Layer
}

func newBuilder(seed uint64) *builder {
	return &builder{
		random: rand.New(rand.NewPCG(seed, 0x6275696c646572)),
		dirs:   map[string]Entry{}, files: map[string]Entry{}, listed: map[string]bool{},
	}
}

func (b *builder) add(e Entry) {
	if e.Time.IsZero() {
		e.Time = epoch.Add(time.Duration(b.random.IntN(1e8)) * time.Second)
	}
	b.above(e.Path)
	if e.Type == tar.TypeDir {
		b.dirs[e.Path] = e
		b.listed[e.Path] = true
	} else {
		b.forget(e.Path)
		b.files[e.Path] = e
	}
	b.layer = append(b.layer, e)
}

// above adds the directories above name that have no entry in the current layer.
func (b *builder) above(name string) {
	dir := path.Dir(name)
	if dir == "." || b.listed[dir] {
		return
	}
	there, ok := b.dirs[dir]
	if !ok {
		there = Entry{Path: dir, Type: tar.TypeDir, Mode: 0o755}
	}
	b.add(there)
}

// forget drops a removed directory and the directories below it.
func (b *builder) forget(name string) {
	if _, ok := b.dirs[name]; !ok {
		return
	}
	maps.DeleteFunc(b.dirs, func(dir string, _ Entry) bool {
		return dir == name || strings.HasPrefix(dir, name+"/")
	})
}

func (b *builder) file(name string, mode uint32, c Content) {
	b.add(Entry{Path: name, Type: tar.TypeReg, Mode: mode, Content: c})
}

func (b *builder) dir(name string, mode uint32) {
	b.add(Entry{Path: name, Type: tar.TypeDir, Mode: mode})
}

// link adds a hard link with the metadata of the file's own entry, as archivers do: some
// programs apply the metadata of the last link to the file.
func (b *builder) link(name, to string) {
	e := b.files[to]
	e.Path, e.Link, e.Type, e.Content = name, to, tar.TypeLink, Content{}
	b.add(e)
}

func (b *builder) symlink(name, to string) {
	b.add(Entry{Path: name, Type: tar.TypeSymlink, Mode: 0o777, Link: to})
}

// whiteout removes a file of a lower layer.
func (b *builder) whiteout(name string) {
	b.above(name)
	b.forget(name)
	b.layer = append(b.layer, Entry{
		Path: path.Join(path.Dir(name), whiteoutPrefix+path.Base(name)), Type: tar.TypeReg, Time: epoch,
	})
}

// opaque removes the files of lower layers in a directory, but keeps the directory.
func (b *builder) opaque(dir string) {
	b.above(dir + "/x")
	for _, name := range slices.Collect(maps.Keys(b.dirs)) {
		if path.Dir(name) == dir {
			b.forget(name)
		}
	}
	b.layer = append(b.layer, Entry{Path: dir + "/" + opaqueName, Type: tar.TypeReg, Time: epoch})
}

// end completes the current layer.
func (b *builder) end(createdBy string) {
	b.layers = append(b.layers, Layer{CreatedBy: createdBy, Entries: b.layer})
	b.layer, b.files, b.listed = nil, map[string]Entry{}, map[string]bool{}
}

// step adds a line without a layer to the history, as for CMD.
func (b *builder) step(createdBy string) {
	b.layers = append(b.layers, Layer{CreatedBy: createdBy, HistoryOnly: true})
}
