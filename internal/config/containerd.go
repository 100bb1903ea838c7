package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"thinctl/internal/names"
	"thinctl/units"
)

// Containerd is the snapshotter of one containerd, [containerd.NAME].
type Containerd struct {
	Name       string
	Pool       string // whose volumes its snapshots are
	Namespace  string // the set of its snapshots; Name, unless set
	Socket     string // /run/thinctl/NAME.sock, unless set
	Containerd string // containerd's own socket; /run/containerd/containerd.sock, unless set
	FileSystem string // ext4 or xfs
	Size       units.Bytes
	ImageFS    string // where a file system shows the pool's space; "" for nowhere
}

const (
	// socketMost is what a socket's path may have here: sockaddr_un has 108 bytes,
	// and it is made under a longer name.
	socketMost = 100
	// smallest is the least size of a snapshot, as package containerd has it.
	smallest    = 16 * units.MiB
	smallestXFS = 300 * units.MiB
)

// containerdDefaults are a table's that has nothing in it.
func containerdDefaults(name string) settings {
	return settings{containerd: Containerd{Name: name, Namespace: name, Socket: "/run/thinctl/" + name + ".sock",
		Containerd: "/run/containerd/containerd.sock", FileSystem: "ext4"}}
}

// containerdKeys are what a table [containerd.NAME] has.
func containerdKeys() []key {
	of := func(s *settings) *Containerd { return &s.containerd }
	return []key{
		{"pool", "The pool whose volumes the snapshots are. This has to be set.",
			pattern("a pool's name; `thinctl pool list` shows the pools", names.Pool, func(s *settings) *string { return &of(s).Pool }), "pool"},
		{"namespace", "The set of snapshots that this containerd sees, and removes what it does not know of; the table's name, unless set.\nNever give two containerds the same one.",
			pattern("letters, digits and . _ -, a letter or digit first, at most 64", names.Namespace, func(s *settings) *string { return &of(s).Namespace }), "namespace"},
		{"socket", "Where containerd finds it: address in its proxy_plugins. Root alone can reach it.",
			folder(false, func(s *settings) *string { return &of(s).Socket }), "socket"},
		{"containerd", "The socket of containerd itself (`ctr --address`): differences between snapshots, such as those of\n`docker commit`, are written to its content store.",
			folder(false, func(s *settings) *string { return &of(s).Containerd }), "containerd"},
		{"filesystem", "What snapshots without a parent are formatted with: ext4 or xfs.",
			choice([]string{"ext4", "xfs"}, func(s *settings) *string { return &of(s).FileSystem }), "filesystem"},
		{"size", "The size of snapshots without a parent; 0 for the pool's base size.",
			size(func(s *settings) *units.Bytes { return &of(s).Size }), "size"},
		{"imagefs", "Where a file system is mounted whose size and free space are the pool's, for the kubelet; \"\" for nowhere.\nIt is what containerd's proxy plugin exports as root.",
			folder(true, func(s *settings) *string { return &of(s).ImageFS }), "imagefs"},
	}
}

// Containerds are the snapshotters of containerds, by name.
func (c Config) Containerds() []Containerd {
	all := make([]Containerd, 0, len(c.containerds))
	for _, name := range slices.Sorted(maps.Keys(c.containerds)) {
		all = append(all, c.containerds[name].containerd)
	}
	return all
}

// takeContainerds takes what stands below [containerd].
func (l *loading) takeContainerds(file []entry) {
	for _, e := range file {
		const remedy = "write [containerd.NAME]"
		if len(e.key) == 1 {
			if !e.table {
				l.fault(e, "containerd", bad(remedy, "it is no table"))
			}
			continue
		}
		name := e.key[1]
		full := "containerd." + name
		switch {
		case names.Namespace.Check(name) != nil:
			if len(e.key) == 2 {
				l.fault(e, full, bad("use letters, digits and . _ -, a letter or digit first, at most 64", "it cannot have that name"))
			}
			continue
		case len(e.key) == 2 && !e.table:
			l.fault(e, full, bad(remedy, "it is no table"))
			continue
		}
		s, known := l.containerds[name]
		if !known {
			s = containerdDefaults(name)
			l.origins[full] = l.at(e)
		}
		switch {
		case !e.table:
			l.takeOf(containerdKeys(), &s, e, func(k key) string { return k.own }, strings.Join(e.key[2:], "."))
		case len(e.key) > 2:
			l.unknown(e)
		}
		l.containerds[name] = s
	}
}

// checkContainerds looks for tables that nothing can be done with, and for two that
// are in each other's way.
func (l *loading) checkContainerds() {
	sockets, namespaces, imagefs := map[string]string{}, map[string]string{}, map[string]string{}
	if path, unix := strings.CutPrefix(l.global.serve.Listen, "unix:"); unix {
		sockets[filepath.Clean(path)] = "serve.listen"
	}
	for _, name := range slices.Sorted(maps.Keys(l.containerds)) {
		table := "containerd." + name
		s := l.containerds[name].containerd
		tell := func(key, remedy, format string, args ...any) {
			at, ok := l.origins[table+"."+key]
			if ok {
				key = table + "." + key
			} else {
				at, key = l.origins[table], table
			}
			l.faults = append(l.faults, faultOf(at, key, bad(remedy, format, args...)))
		}
		if s.Pool == "" && !l.faulty(table+".pool") {
			tell("pool", "write pool = \"NAME\" in it", "it has no pool")
		}
		if len(s.Socket) > socketMost {
			tell("socket", "choose a shorter one", "a socket's path has at most %d bytes here, and this has %d", socketMost, len(s.Socket))
		}
		least := smallest
		if s.FileSystem == "xfs" {
			least = smallestXFS
		}
		if s.Size != 0 && s.Size < least {
			tell("size", "write at least "+least.Exact()+", or 0 for the pool's base size", "%s is too small for %s", s.Size.Exact(), s.FileSystem)
		}
		socket := filepath.Clean(s.Socket)
		if other, taken := sockets[socket]; taken {
			tell("socket", "give each its own", "%s has the socket %s too", other, socket)
		} else {
			sockets[socket] = table
		}
		if path := filepath.Clean(s.ImageFS); s.ImageFS != "" {
			if other, taken := imagefs[path]; taken {
				tell("imagefs", "give each its own", "%s has the directory %s too", other, path)
			} else {
				imagefs[path] = table
			}
			if path == "/" || within(l.global.root, path) || within(path, l.global.root) {
				tell("imagefs", "choose a directory of its own, such as /run/thinctl/"+name+".fs", "%s would hide the pools", path)
			}
		}
		set := s.Pool + "/" + s.Namespace
		if other, taken := namespaces[set]; taken && s.Pool != "" {
			tell("namespace", "give each its own: a containerd removes what it does not know", "%s has the namespace %s of pool %s too", other, s.Namespace, s.Pool)
		} else {
			namespaces[set] = table
		}
	}
}

// within reports whether path is directory, or below it.
func within(path, directory string) bool {
	path, directory = filepath.Clean(path), filepath.Clean(directory)
	return path == directory || strings.HasPrefix(path, strings.TrimSuffix(directory, "/")+"/")
}

// faulty tells whether a key has a fault already.
func (l *loading) faulty(key string) bool {
	return slices.ContainsFunc(l.faults, func(f Fault) bool { return f.Key == key })
}
