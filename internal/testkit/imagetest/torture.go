package imagetest

import (
	"archive/tar"
	"fmt"
	"strings"
	"time"
)

// Deep returns an image with so many layers; Docker's overlay driver allows at most 127. Each
// layer changes the same file and adds a file, and most layers remove a file.
func Deep(layers int) Image {
	b := newBuilder(uint64(layers))
	for n := range layers {
		b.file("counter", 0o644, Content{Text: fmt.Sprintln(n)})
		b.file(
			fmt.Sprintf("d%d/added-%03d", n%7, n),
			0o640,
			Content{Kind: Random, Size: int64(1000 + 37*n), Seed: uint64(n)},
		)
		if n >= 7 && n%3 > 0 {
			b.whiteout(fmt.Sprintf("d%d/added-%03d", n%7, n-7))
		}
		b.end(fmt.Sprintf("RUN step %d", n))
	}
	return Image{Names: []string{fmt.Sprintf("thinctl/deep:%d", layers)}, Layers: b.layers}
}

// Crowd returns an image with so many small files, 1000 in a directory.
func Crowd(files int) Image {
	b := newBuilder(3)
	for n := range files {
		b.file(fmt.Sprintf("crowd/%02d/%03d/f%06d", n/10000, n/1000%10, n), 0o644,
			Content{Kind: Text, Size: int64(b.random.IntN(200)), Seed: uint64(n)})
	}
	b.end("ADD crowd.tar /")
	return Image{Names: []string{"thinctl/crowd:latest"}, Layers: b.layers}
}

// Sparse returns an image with a file that is nearly all zeros. The tar has all its bytes,
// or with gnu only the data and a map.
func Sparse(size int64, gnu bool) Image {
	b := newBuilder(4)
	b.add(Entry{Path: "sparse", Type: tar.TypeReg, Mode: 0o600, GNUSparse: gnu,
		Content: Content{Kind: Holes, Size: size, Seed: 4}})
	b.file("after", 0o644, Content{Text: "what follows it\n"})
	b.end("ADD sparse /")
	name := "thinctl/sparse:plain"
	if gnu {
		name = "thinctl/sparse:gnu"
	}
	return Image{Names: []string{name}, Layers: b.layers}
}

// Links returns an image with many hard links: many names of one file in several
// directories, and many files with two names. A second layer removes names and replaces
// others.
func Links() Image {
	b := newBuilder(5)
	b.file("farm/origin", 0o644, Content{Kind: Random, Size: 100_000, Seed: 5})
	for n := range 1000 {
		b.link(fmt.Sprintf("farm/%02d/name-%04d", n%20, n), "farm/origin")
	}
	for n := range 300 {
		b.file(fmt.Sprintf("pairs/left/%03d", n), 0o600, Content{Kind: Text, Size: int64(n), Seed: uint64(n)})
		b.link(fmt.Sprintf("pairs/right/%03d", n), fmt.Sprintf("pairs/left/%03d", n))
	}
	b.symlink("pairs/soft", "left/001")
	b.link("pairs/soft-too", "pairs/soft")
	b.end("ADD farm.tar /")
	for n := range 100 {
		b.whiteout(fmt.Sprintf("farm/%02d/name-%04d", n%20, n))
	}
	for n := range 50 {
		b.file(fmt.Sprintf("pairs/left/%03d", n), 0o644, Content{Text: "alone\n"})
	}
	b.end("RUN rm, cp")
	return Image{Names: []string{"thinctl/links:latest"}, Layers: b.layers}
}

// Special returns an image with the unusual members of tars, and with later layers that
// change them.
func Special() Image {
	b := newBuilder(6)
	b.kinds()
	b.names()
	b.times()
	for _, dir := range []string{"opaque/old", "opaque/both", "gone", "becomes-file/with/deep", "kept"} {
		b.file(dir+"/file", 0o644, Content{Text: "of the first layer\n"})
	}
	b.file("becomes-dir", 0o644, Content{Text: "a file\n"})
	b.file("becomes-link", 0o644, Content{Text: "a file\n"})
	b.symlink("link-becomes-dir", "kept")
	b.symlink("link-becomes-file", "kept/file")
	b.file("back", 0o644, Content{Text: "once\n"})
	b.end("ADD special.tar /")

	b.step(`CMD ["/bin/true"]`)

	b.file("opaque/both/file", 0o600, Content{Text: "of the second layer\n"})
	b.opaque("opaque")
	b.file("opaque/new", 0o600, Content{Text: "with the marker\n"})
	b.whiteout("gone")
	b.whiteout("back")
	b.file("becomes-file", 0o755, Content{Text: "was a directory\n"})
	b.file("becomes-dir/inside", 0o644, Content{Text: "was a file\n"})
	b.symlink("becomes-link", "/absolute/and/dangling")
	b.file("link-becomes-dir/inside", 0o644, Content{Text: "not in kept\n"})
	b.file("link-becomes-file", 0o644, Content{Text: "not kept/file\n"})
	b.add(Entry{Path: "kept", Type: tar.TypeDir, Mode: 0o2750, UID: 7, GID: 8})
	b.add(Entry{Path: "kinds/null", Type: tar.TypeBlock, Mode: 0o600, Major: 7, Minor: 300})
	b.end("RUN make changes")

	b.file("becomes-file/again", 0o644, Content{Text: "a directory again\n"})
	b.file("becomes-dir", 0o400, Content{Text: "a file again\n"})
	b.dir("gone", 0o711)
	b.file("back", 0o644, Content{Text: "twice\n"})
	b.end("RUN and back")
	return Image{
		Names:  []string{"thinctl/special:latest", "thinctl/special:1.0"},
		Author: "Ünïcode \"quoted\" <a@b>", Layers: b.layers,
		Config: Config{
			User:         "7:8",
			ExposedPorts: map[string]struct{}{"80/tcp": {}},
			Env:          []string{"A=b=c", "EMPTY="},
			Entrypoint: []string{
				"/bin/sh",
				"-c",
			},
			Cmd:        []string{"/bin/true"},
			Volumes:    map[string]struct{}{"/data": {}},
			WorkingDir: "/kept",
			Labels:     map[string]string{"a": "<b> & \u2028"},
		},
	}
}

func (b *builder) kinds() {
	b.add(Entry{Path: "kinds/null", Type: tar.TypeChar, Mode: 0o666, Major: 1, Minor: 3})
	b.add(Entry{Path: "kinds/high", Type: tar.TypeChar, Mode: 0o600, Major: 300, Minor: 70000})
	b.add(Entry{Path: "kinds/disk", Type: tar.TypeBlock, Mode: 0o660, GID: 6, Major: 8, Minor: 17})
	b.add(Entry{Path: "kinds/fifo", Type: tar.TypeFifo, Mode: 0o640, UID: 1, GID: 2})
	for _, bits := range []uint32{0o4755, 0o2755, 0o6711, 0o1644, 0} {
		b.add(Entry{
			Path: fmt.Sprintf("kinds/mode-%04o", bits), Type: tar.TypeReg, Mode: bits, UID: 1000, GID: 1001,
			Content: Content{Text: "x"},
		})
	}
	b.add(Entry{Path: "kinds/shared", Type: tar.TypeDir, Mode: 0o3777, GID: 50})
	b.add(Entry{
		Path: "kinds/owners", Type: tar.TypeReg, Mode: 0o644, UID: 4_000_000_000, GID: 3_000_000_000,
		Content: Content{Text: "x"},
	})
	b.add(Entry{Path: "kinds/empty", Type: tar.TypeReg, Mode: 0o644})
	b.add(Entry{
		Path: "kinds/link", Type: tar.TypeSymlink, Mode: 0o777, UID: 12, GID: 34,
		Link: "../" + strings.Repeat("long/", 60) + "target",
	})
	// No attribute has an empty value: archive/tar reads that as no attribute.
	b.add(Entry{Path: "kinds/attributes", Type: tar.TypeReg, Mode: 0o644, Content: Content{Text: "with attributes\n"},
		Xattrs: map[string]string{"user.plain": "value", "user.binary": "a\x00\xff=\nb"}})
	b.add(Entry{Path: "kinds/attributed", Type: tar.TypeDir, Mode: 0o755, Xattrs: map[string]string{"user.dir": "yes"}})
	// cap_net_bind_service+ep, as setcap(8) of libcap writes it.
	b.add(Entry{
		Path:    "kinds/capable",
		Type:    tar.TypeReg,
		Mode:    0o755,
		Content: Content{Text: "#!/bin/true\n"},
		Xattrs: map[string]string{
			"security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		},
	})
}

func (b *builder) names() {
	for _, name := range []string{
		strings.Repeat("n", 255), strings.Repeat("é", 127), "latin1-\xe9\xff", "new\nline", " space ", "tab\t", `back\slash`,
		`"quotes'`, "-dash", "*?[a]", "\u202eright-to-left", "..three...", ".hidden", "\x01control", "emoji-\U0001F40B",
		strings.Repeat("d", 200) + "/" + strings.Repeat("e", 200) + "/" + strings.Repeat("f", 99),
		strings.Repeat("deep/", 100) + "file",
	} {
		b.file("names/"+name, 0o644, Content{Text: name})
	}
	b.link("names/to-long", "names/"+strings.Repeat("n", 255))
}

func (b *builder) times() {
	for n, at := range []time.Time{
		time.Unix(1_234_567_890, 123_456_789), time.Unix(1_234_567_890, 1), time.Unix(0, 0),
		time.Unix(1<<31+5, 999_999_999), time.Unix(1, 500_000_000),
	} {
		b.add(Entry{
			Path: fmt.Sprintf("times/%d", n), Type: tar.TypeReg, Mode: 0o644, Time: at,
			Content: Content{Text: at.UTC().String()},
		})
	}
	b.add(Entry{Path: "times/dir", Type: tar.TypeDir, Mode: 0o755, Time: time.Unix(1_000_000_000, 5)})
	b.add(Entry{Path: "times/link", Type: tar.TypeSymlink, Mode: 0o777, Link: "1", Time: time.Unix(1_000_000_001, 7)})
}

// Program returns an image with one program, which is its command.
func Program(name, path string, text []byte) Image {
	b := newBuilder(7)
	b.file(strings.TrimPrefix(path, "/"), 0o755, Content{Text: string(text)})
	b.end("COPY " + path)
	b.step("CMD " + path)
	return Image{Names: []string{name}, Layers: b.layers, Config: Config{Cmd: []string{path}}}
}
