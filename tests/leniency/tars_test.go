package leniency

import (
	"archive/tar"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"thinctl/internal/testkit/imagetest"
)

// tarQuirks are those of a layer's tar. The image has an ordinary layer below, so that
// there is a root to change.
func tarQuirks() []quirk {
	d := func(name string, draft func(*draft)) quirk {
		return quirk{name: "tar-" + name, form: dockerArchive, draft: draft}
	}
	return slices.Concat([]quirk{
		d("empty", func(d *draft) { d.addRaw(nil) }),
		d("empty-between", func(d *draft) {
			d.addRaw(nil)
			d.add(d.own("after"))
		}),
		d("empty-first", func(d *draft) {
			d.Layers, d.shown = nil, nil
			d.addRaw(nil)
			d.add(d.own("after"))
		}),
		d("only-end", func(d *draft) { d.addRaw(imagetest.EndOfTar()) }),
		d("one-zero-block", func(d *draft) { d.addRaw(make([]byte, 512)) }),
		{name: "pull-tar-empty", form: registry, draft: func(d *draft) {
			d.addRaw(nil)
			d.stored(gzipped)
			d.last().MediaType += "+gzip"
		}},
		{name: "pull-blob-empty", form: registry, draft: func(d *draft) { d.addRaw(nil) }},
		cut("unpadded", func(size, text int) int { return size - 1024 - (512 - text%512) }),
		cut("no-end", func(size, _ int) int { return size - 1024 }),
		cut("half-end", func(size, _ int) int { return size - 512 }),
		cut("cut-in-end", func(size, _ int) int { return size - 700 }),
		cut("cut-in-padding", func(size, text int) int { return size - 1024 - (512-text%512)/2 }),
		after("zeros", strings.Repeat("\x00", 20_000)),
		after("zeros-unaligned", strings.Repeat("\x00", 777)),
		after("garbage", strings.Repeat("garbage ", 200)),
		d("tar-after-end", func(d *draft) {
			second := d.membersOf(regular("second", "behind the end\n"))
			d.addRaw(slices.Concat(d.membersOf(regular("own-first", d.name)), imagetest.EndOfTar(), second,
				imagetest.EndOfTar()),
				file("own-first", d.name))
		}),
	}, nameQuirks(), aufsQuirks(), whiteoutQuirks(), replacingQuirks(), paxQuirks(), sparseQuirks())
}

// cut is a layer of one file that ends after so many bytes.
func cut(name string, keep func(size, text int) int) quirk {
	return quirk{name: "tar-" + name, form: dockerArchive, draft: func(d *draft) {
		f := file("own-cut", d.name+strings.Repeat("x", 700))
		d.add(f)
		d.last().Tar = d.last().Tar[:keep(len(d.last().Tar), len(f.Content.Text))]
	}}
}

func after(name, more string) quirk {
	return quirk{name: "tar-after-" + name, form: dockerArchive, draft: func(d *draft) {
		d.add(d.own("layer"))
		d.last().Tar = append(d.last().Tar, more...)
	}}
}

// nameQuirks are names and types of members.
func nameQuirks() []quirk {
	m := func(name string, members func(d *draft) []member, entries ...imagetest.Entry) quirk {
		return quirk{name: "tar-" + name, form: dockerArchive, draft: func(d *draft) {
			own := d.own("layer")
			d.addMembers(append(members(d), regular(own.Path, own.Content.Text)), append(entries, own)...)
		}}
	}
	one := func(members ...member) func(*draft) []member { return func(*draft) []member { return members } }
	fifty := strings.Repeat("deep/", 50)
	old := imagetest.RawHeader{Name: "old", Type: 0, Size: 4, Mode: 0o644, V7: true}
	oldDir := imagetest.RawHeader{Name: "olddir/", Type: 0, Mode: 0o755, V7: true}
	return []quirk{
		m("dot-slash", one(directory("./"), directory("./a/"), regular("./a/b", "x")), dir("a"), file("a/b", "x")),
		m("root-entry", one(directory("/"), regular("a", "x")), file("a", "x")),
		m("absolute", one(directory("/a/"), regular("/a/b", "x")), dir("a"), file("a/b", "x")),
		m("double-slash", one(directory("a//"), regular("a//b", "x")), dir("a"), file("a/b", "x")),
		m("dot-inside", one(directory("a/"), regular("a/./b", "x")), dir("a"), file("a/b", "x")),
		m("parent-inside", one(directory("a/"), regular("a/../b", "x")), dir("a"), file("b", "x")),
		m("no-directories", one(regular("a/b/c", "x")), dir("a"), dir("a/b"), file("a/b/c", "x")),
		m("very-deep", one(regular(fifty+"f", "x")), append(deepDirs(50), file(fifty+"f", "x"))...),
		m("directory-without-slash", one(directory("a")), dir("a")),
		m("file-with-newline", one(regular("new\nline", "x")), file("new\nline", "x")),
		m("file-not-utf8", one(member{tar.Header{Typeflag: tar.TypeReg, Name: "latin1-\xe9", Mode: 0o644, Size: 1,
			ModTime: when, Format: tar.FormatGNU}, "x"}),
			file("latin1-\xe9", "x")),
		m("gnu-long-name", one(member{tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("n", 200), Mode: 0o644, Size: 1,
			ModTime: when, Format: tar.FormatGNU}, "x"}),
			file(strings.Repeat("n", 200), "x")),
		m("hard-link-below", one(hard("h", "hello")), link("h", "hello")),
		m("hard-link-absolute", one(regular("a", "x"), hard("h", "/a")), file("a", "x"), link("h", "a")),
		m("hard-link-dot-slash", one(regular("./a", "x"), hard("./h", "./a")), file("a", "x"), link("h", "a")),
		m("hard-link-to-symlink", one(soft("s", "nowhere"), hard("h", "s")), symlink("s", "nowhere"), link("h", "s")),
		m("symlink-above-root", one(soft("s", "../../../../../etc/passwd")), symlink("s", "../../../../../etc/passwd")),
		m("symlink-parent", one(soft("s", "etc"), regular("s/inside", "x")), symlink("s", "etc"), file("etc/inside", "x")),
		m("symlink-parent-absolute", one(soft("s", "/etc"), regular("s/inside", "x")), symlink("s", "/etc"),
			file("etc/inside", "x")),
		m("symlink-parent-above-root", one(soft("s", "../../../etc"), regular("s/inside", "x")),
			symlink("s", "../../../etc"), file("etc/inside", "x")),
		m("directory-over-symlink", one(soft("s", "etc"), directory("s"), regular("s/inside", "x")), dir("s"),
			file("s/inside", "x")),
		m("contiguous", one(member{tar.Header{Typeflag: tar.TypeCont, Name: "c", Mode: 0o644, ModTime: when}, ""}),
			file("c", "")),
		quirk{name: "tar-old-format", form: dockerArchive, draft: func(d *draft) {
			d.addRaw(slices.Concat(oldDir.Member(nil), old.Member([]byte("old\n")), d.membersOf(regular("own", d.name)),
				imagetest.EndOfTar()),
				dir("olddir"), file("old", "old\n"), file("own", d.name))
		}},
		quirk{name: "tar-unknown-type", form: dockerArchive, draft: func(d *draft) {
			h := imagetest.RawHeader{Name: "unknown", Type: 'Z', Size: 2, Mode: 0o644}
			d.addRaw(slices.Concat(h.Member([]byte("x\n")), d.membersOf(regular("own", d.name)), imagetest.EndOfTar()),
				file("own", d.name))
		}},
		quirk{name: "tar-volume-label", form: dockerArchive, draft: func(d *draft) {
			h := imagetest.RawHeader{Name: "label", Type: 'V'}
			d.addRaw(slices.Concat(h.Member(nil), d.membersOf(regular("own", d.name)), imagetest.EndOfTar()),
				file("own", d.name))
		}},
		m("through-lower-symlink", one(regular("lib/new", "x")), file("usr/new", "x")).onto(dir("usr"),
			symlink("lib", "usr")),
		m("below-lower-file", one(regular("was/new", "x")), dir("was"), file("was/new", "x")).onto(file("was", "a file\n")),
	}
}

func deepDirs(n int) (dirs []imagetest.Entry) {
	for i := range n {
		dirs = append(dirs, dir(strings.TrimSuffix(strings.Repeat("deep/", i+1), "/")))
	}
	return dirs
}

// onto puts a layer below those that the row adds.
func (q quirk) onto(entries ...imagetest.Entry) quirk {
	above := q.draft
	q.draft = func(d *draft) {
		d.add(append(entries, d.own("below"))...)
		above(d)
	}
	return q
}

// aufsQuirks are entries that the storage driver aufs left in layers.
func aufsQuirks() []quirk {
	a := func(name string, members []member, entries ...imagetest.Entry) quirk {
		return quirk{name: "tar-aufs-" + name, form: dockerArchive, draft: func(d *draft) {
			d.addMembers(append(members, regular("own", d.name)), append(entries, file("own", d.name))...)
		}}
	}
	all := []quirk{
		a("meta", []member{regular(".wh..wh.aufs", ""), directory(".wh..wh.orph/"), directory(".wh..wh.plnk/")}),
		a("plnk-file", []member{directory(".wh..wh.plnk/"), regular(".wh..wh.plnk/123.456", "linked\n")}),
		a("plnk-links", []member{directory(".wh..wh.plnk/"), regular(".wh..wh.plnk/123.456", "linked\n"),
			hard("one", ".wh..wh.plnk/123.456"), hard("two",
				".wh..wh.plnk/123.456")}, file("one", "linked\n"), link("two", "one")),
	}
	all[len(all)-1].copies = true
	return all
}

// whiteoutQuirks remove things in unusual ways.
func whiteoutQuirks() []quirk {
	w := func(name string, members []member, entries ...imagetest.Entry) quirk {
		return quirk{name: "tar-whiteout-" + name, form: dockerArchive, draft: func(d *draft) {
			d.addMembers(append(members, regular("own", d.name)), append(entries, file("own", d.name))...)
		}}
	}
	return []quirk{
		w("of-nothing", []member{regular(".wh.absent", "")}),
		w("with-content", []member{regular(".wh.hello", "unused")}, file(".wh.hello", "")),
		w("directory", []member{directory(".wh.hello")}, file(".wh.hello", "")),
		w("twice", []member{regular(".wh.hello", ""), regular(".wh.hello", "")}, file(".wh.hello", "")),
		w("then-new", []member{regular(".wh.hello", ""), regular("hello", "new\n")}, file("hello", "new\n")),
		w("opaque-root", []member{regular(".wh..wh..opq", "")}, file(".wh.hello", ""), file(".wh.etc", "")),
		w("opaque-after-files", []member{directory("etc"), regular("etc/new", "x"), regular("etc/.wh..wh..opq", "")},
			dir("etc"), file("etc/.wh..wh..opq", ""), file("etc/new", "x")),
	}
}

// replacingQuirks are layers that replace or remove much of their own contents.
func replacingQuirks() []quirk {
	r := func(name string, members func(*draft) []member, entries ...imagetest.Entry) quirk {
		return quirk{name: "tar-replacing-" + name, form: dockerArchive, draft: func(d *draft) {
			d.addMembers(append(members(d), regular("own", d.name)), append(entries, file("own", d.name))...)
		}}
	}
	return []quirk{
		r("file-often", func(*draft) (all []member) {
			for n := range 200 {
				all = append(all, regular("log", strings.Repeat(fmt.Sprintf("line %d\n", n), 2000)))
			}
			return all
		}, file("log", strings.Repeat("line 199\n", 2000))),
		r("large-file", func(*draft) (all []member) {
			for range 5 {
				all = append(all, regular("large", strings.Repeat("0123456789abcdef", 1<<16)))
			}
			return append(all, regular("large", "small\n"))
		}, file("large", "small\n")),
		r("types", func(*draft) []member {
			return []member{regular("a", "x"), directory("a"), regular("a/b", "y"), soft("a", "hello"), regular("a", "z")}
		}, file("a", "z")),
		r("linked-file", func(*draft) []member {
			return []member{regular("a", "first\n"), hard("b", "a"), regular("a", "second\n")}
		}, file("b", "first\n"), file("a", "second\n")),
		r("directory-by-itself", func(*draft) []member {
			return []member{directory("a"), regular("a/b", "x"), directory("a")}
		}, dir("a"), file("a/b", "x")),
	}
}

// paxQuirks are extended headers.
func paxQuirks() []quirk {
	p := func(name string, entries []imagetest.Entry, text func(d *draft) []byte) quirk {
		return quirk{name: "tar-pax-" + name, form: dockerArchive, draft: func(d *draft) {
			d.addRaw(slices.Concat(text(d), d.membersOf(regular("own", d.name)), imagetest.EndOfTar()),
				append(entries, file("own", d.name))...)
		}}
	}
	x := func(records ...string) func(*draft) []byte {
		return func(*draft) []byte {
			return imagetest.PAXMember(imagetest.RawHeader{Name: "f", Type: '0', Size: 2, Mode: 0o644}, []byte("x\n"),
				records...)
		}
	}
	f := []imagetest.Entry{file("f", "x\n")}
	attribute := func(name string, size int) quirk {
		value := strings.Repeat("v", size)
		e := file("f", "x\n")
		e.Xattrs = map[string]string{"user.big": value}
		return p(name, []imagetest.Entry{e}, x("SCHILY.xattr.user.big", value))
	}
	owned := file("f", "x\n")
	owned.UID, owned.GID = 3_000_000_000, 70_000
	return []quirk{
		p("unknown-key", f, x("VENDOR.key", "value", "comment", "made by hand")),
		p("repeated-key", f, x("comment", "one", "comment", "two")),
		p("empty-value", f, x("uname", "", "comment", "")),
		p("name-overrides", []imagetest.Entry{file("real", "x\n")}, x("path", "real")),
		p("size-overrides", f, func(*draft) []byte {
			h := imagetest.RawHeader{Name: "f", Type: '0', Size: 0, Mode: 0o644}
			return imagetest.PAXMember(h, []byte("x\n"), "size", "2")
		}),
		p("large-owner", []imagetest.Entry{owned}, x("uid", "3000000000", "gid", "70000")),
		p("time-before-1970", f, x("mtime", "-1000.5")),
		p("time-far", f, x("mtime", "99999999999.25")),
		p("charset-binary", []imagetest.Entry{file("latin1-\xe9", "x\n")}, x("hdrcharset", "BINARY", "path", "latin1-\xe9")),
		p("libarchive", f, x("LIBARCHIVE.creationtime", "1.5", "LIBARCHIVE.xattr.user.x", "eA==")),
		p("global-header", f, func(d *draft) []byte {
			g := member{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header",
				PAXRecords: map[string]string{"comment": "a commit"}}}
			return d.membersOf(g, regular("f", "x\n"))
		}),
		p("xattr-security-capability", []imagetest.Entry{func() imagetest.Entry {
			e := file("f", "x\n")
			e.Xattrs = map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
			return e
		}()}, x("SCHILY.xattr.security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")),
		p("xattr-unknown-namespace", f, x("SCHILY.xattr.com.apple.quarantine", "0081")),
		attribute("xattr-2k", 2<<10),
		attribute("xattr-5k", 5<<10),
	}
}

// sparseQuirks are sparse files as GNU tar writes them.
func sparseQuirks() []quirk {
	s := func(name string, members func(d *draft, data string) []byte) quirk {
		return quirk{name: "tar-sparse-" + name, form: dockerArchive, draft: func(d *draft) {
			data := (d.name + strings.Repeat("\ndata", 2000))[:4096]
			want := file("sparse", strings.Repeat("\x00", 1<<20)+data+strings.Repeat("\x00", 1<<20-4096))
			d.addRaw(slices.Concat(members(d, data), imagetest.EndOfTar()), want)
		}}
	}
	const size = "2097152"
	header := func(length int) imagetest.RawHeader {
		return imagetest.RawHeader{Name: "GNUSparseFile.0/sparse", Type: '0', Size: int64(length), Mode: 0o644}
	}
	return []quirk{
		{name: "tar-sparse-gnu", form: dockerArchive, draft: func(d *draft) {
			d.add(imagetest.Entry{Path: "sparse", Type: tar.TypeReg, Mode: 0o600, Time: when.Truncate(time.Second),
				GNUSparse: true,
				Content:   imagetest.Content{Kind: imagetest.Holes, Size: 16 << 20, Seed: 15}}, d.own("layer"))
		}},
		s("pax-0-0", func(_ *draft, data string) []byte {
			h := header(len(data))
			h.Name = "sparse"
			return imagetest.PAXMember(h, []byte(data), "GNU.sparse.size", size, "GNU.sparse.numblocks", "2",
				"GNU.sparse.offset", "1048576", "GNU.sparse.numbytes", "4096", "GNU.sparse.offset", size, "GNU.sparse.numbytes", "0")
		}),
		s("pax-0-1", func(_ *draft, data string) []byte {
			return imagetest.PAXMember(header(len(data)), []byte(data), "GNU.sparse.size", size, "GNU.sparse.numblocks", "2",
				"GNU.sparse.map", "1048576,4096,"+size+",0", "GNU.sparse.name", "sparse")
		}),
		s("pax-1-0", func(_ *draft, data string) []byte {
			m := []byte("2\n1048576\n4096\n" + size + "\n0\n")
			m = append(m, bytes.Repeat([]byte{0}, 512-len(m))...)
			return imagetest.PAXMember(header(512+len(data)), append(m, data...), "GNU.sparse.major", "1", "GNU.sparse.minor",
				"0",
				"GNU.sparse.name", "sparse", "GNU.sparse.realsize", size)
		}),
		{name: "tar-zeros", form: dockerArchive, draft: func(d *draft) {
			d.add(imagetest.Entry{Path: "zeros", Type: tar.TypeReg, Mode: 0o600, Time: when,
				Content: imagetest.Content{Kind: imagetest.Zeros, Size: 8 << 20}}, d.own("layer"))
		}},
	}
}
