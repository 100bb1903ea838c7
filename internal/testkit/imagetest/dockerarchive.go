package imagetest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteDocker writes images as `docker save` does. A shared layer is written once.
func WriteDocker(w io.Writer, images ...*Built) error {
	type manifest struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var all []manifest
	a := archive{tw: tar.NewWriter(w), has: map[string]bool{}}
	for _, b := range images {
		m := manifest{Config: b.ID + ".json", RepoTags: b.Names}
		for i, l := range b.Contents {
			name := strings.TrimPrefix(b.Tars[i].Digest, "sha256:") + "/layer.tar"
			m.Layers = append(m.Layers, name)
			a.stream(name, b.Tars[i].Size, l.WriteTar)
		}
		a.bytes(m.Config, b.JSON)
		all = append(all, m)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	a.bytes("manifest.json", text)
	return a.close()
}

// archive is a tar in which each file is written once. It keeps its first error.
type archive struct {
	tw    *tar.Writer
	has   map[string]bool
	fault error
}

func (a *archive) bytes(name string, text []byte) {
	a.stream(name, int64(len(text)), func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(text))
		return err
	})
}

func (a *archive) stream(name string, size int64, write func(io.Writer) error) {
	if a.fault != nil || a.has[name] {
		return
	}
	a.has[name] = true
	a.fault = a.tw.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: epoch,
	})
	if a.fault == nil {
		a.fault = write(a.tw)
	}
	if a.fault != nil {
		a.fault = fmt.Errorf("write %s: %w", name, a.fault)
	}
}

func (a *archive) close() error {
	if a.fault != nil {
		return a.fault
	}
	return a.tw.Close()
}
