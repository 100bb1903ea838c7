package leniency

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	"thinctl/internal/testkit/imagetest"
)

// member is a member of a tar, with any name.
type member struct {
	tar.Header
	text string
}

func regular(name, text string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text)), ModTime: when}, text}
}

func directory(name string) member {
	return member{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: when}, ""}
}

func soft(name, to string) member {
	return member{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777, ModTime: when}, ""}
}

func hard(name, to string) member {
	return member{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to, Mode: 0o644, ModTime: when}, ""}
}

// bytes returns the member as Go writes it, without the end of a tar.
func (m member) bytes() ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&m.Header); err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(m.text)); err != nil {
		return nil, err
	}
	err := w.Flush()
	return out.Bytes(), err
}

func gzipped(data []byte) ([]byte, error) { return imagetest.Compressed(imagetest.Gzip, data) }

func zstd(data []byte) ([]byte, error) { return imagetest.Compressed(imagetest.Zstd, data) }

func window(log int) func([]byte) ([]byte, error) {
	return func(data []byte) ([]byte, error) { return imagetest.ZstdWindow(data, log), nil }
}

// by compresses with a program, in formats that Go cannot write.
func by(program string) func([]byte) ([]byte, error) {
	return func(data []byte) ([]byte, error) {
		cmd := exec.Command(program, "-c")
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", program, err)
		}
		return out, nil
	}
}

// then adds bytes to the result of another function.
func then(pack func([]byte) ([]byte, error), more string) func([]byte) ([]byte, error) {
	return func(data []byte) ([]byte, error) {
		out, err := pack(data)
		return append(out, more...), err
	}
}

func plain(data []byte) ([]byte, error) { return data, nil }

// named returns a file whose name ends so; the tables name only files that exist.
func named(files []imagetest.File, suffix string) *imagetest.File {
	for i := range files {
		if strings.HasSuffix(files[i].Name, suffix) {
			return &files[i]
		}
	}
	panic("no file " + suffix)
}

// rewrite changes the JSON of a file.
func rewrite[T any](files []imagetest.File, name string, change func(T) T) []imagetest.File {
	f := named(files, name)
	var value T
	if err := json.Unmarshal(f.Data, &value); err != nil {
		panic(err) // it was marshalled a moment ago
	}
	text, err := json.Marshal(change(value))
	if err != nil {
		panic(err)
	}
	f.Data = text
	return files
}

type object = map[string]any

// saved changes the manifest.json of docker save.
func saved(change func(image object)) func([]imagetest.File) []imagetest.File {
	return func(files []imagetest.File) []imagetest.File {
		return rewrite(files, "manifest.json", func(list []object) []object {
			change(list[0])
			return list
		})
	}
}

// indexed changes the one entry of index.json.
func indexed(change func(entry object)) func([]imagetest.File) []imagetest.File {
	return func(files []imagetest.File) []imagetest.File {
		return rewrite(files, "index.json", func(index object) object {
			change(index["manifests"].([]any)[0].(object))
			return index
		})
	}
}

// renamed changes the names of all files.
func renamed(change func(string) string) func([]imagetest.File) []imagetest.File {
	return func(files []imagetest.File) []imagetest.File {
		for i := range files {
			files[i].Name = change(files[i].Name)
		}
		return files
	}
}
