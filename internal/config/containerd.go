package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"thinctl/internal/names"
	"thinctl/units"
)

// Containerd holds the settings of the snapshotter for one containerd, [containerd.NAME].
type Containerd struct {
	Name       string
	Pool       string // that holds the snapshots
	Namespace  string // the set of the snapshots; default: Name
	Socket     string // the snapshotter's; default: /run/thinctl/NAME.sock
	Containerd string // containerd's own socket; default: /run/containerd/containerd.sock
	FileSystem string // ext4 or xfs
	Size       units.Bytes
	ImageFS    string // the mount point of a file system that shows the pool's space; "" for none
}

const (
	// longestSocket is the largest length of a socket's path: sockaddr_un has 108 bytes,
	// and the socket is created under a longer temporary name.
	longestSocket = 100
	// minSize and minSizeXFS are the smallest sizes of a snapshot, as in package
	// containerd.
	minSize    = 16 * units.MiB
	minSizeXFS = 300 * units.MiB

	namespaceRule = "letters, digits and . _ -, a letter or digit first, at most 64"
)

// containerdDefaults returns the settings of an empty table.
func containerdDefaults(name string) Containerd {
	return Containerd{
		Name: name, Namespace: name, Socket: "/run/thinctl/" + name + ".sock",
		Containerd: "/run/containerd/containerd.sock", FileSystem: "ext4",
	}
}

// Containerds returns the settings of all snapshotters, sorted by name.
func (c Config) Containerds() []Containerd {
	all := make([]Containerd, 0, len(c.containerds))
	for _, name := range slices.Sorted(maps.Keys(c.containerds)) {
		all = append(all, c.containerds[name])
	}
	return all
}

// readContainerds reads the entries below [containerd].
func (l *loading) readContainerds(file []entry) {
	for _, e := range file {
		const remedy = "write [containerd.NAME]"
		if len(e.key) == 1 {
			if !e.table {
				l.fault(e, "containerd", bad(remedy, "not a table"))
			}
			continue
		}
		name := e.key[1]
		full := "containerd." + name
		switch {
		case names.Namespace.Check(name) != nil:
			if len(e.key) == 2 {
				l.fault(e, full, bad("use "+namespaceRule, "not a valid name"))
			}
			continue
		case len(e.key) == 2 && !e.table:
			l.fault(e, full, bad(remedy, "not a table"))
			continue
		}
		c, known := l.containerds[name]
		if !known {
			c = containerdDefaults(name)
			l.origins[full] = l.originOf(e)
		}
		switch {
		case !e.table:
			l.read(containerdKeys(&c), e, strings.Join(e.key[2:], "."))
		case len(e.key) > 2:
			l.unknown(e)
		}
		l.containerds[name] = c
	}
}

// checkContainerds checks each table, and whether two tables use the same socket,
// directory or namespace.
func (l *loading) checkContainerds() {
	sockets, namespaces, imagefs := map[string]string{}, map[string]string{}, map[string]string{}
	if path, unix := strings.CutPrefix(l.Serve.Listen, "unix:"); unix {
		sockets[filepath.Clean(path)] = "serve.listen"
	}
	for _, c := range l.Containerds() {
		table := "containerd." + c.Name
		l.checkContainerd(c)
		// unique records that the table uses a value, or adds a fault if another table does.
		unique := func(used map[string]string, value, key, remedy, what string) {
			if other, taken := used[value]; taken {
				l.containerdFault(c.Name, key, remedy, "%s uses the %s, too", other, what)
				return
			}
			used[value] = table
		}
		socket := filepath.Clean(c.Socket)
		unique(sockets, socket, "socket", "choose another socket for one of them", "socket "+socket)
		if c.ImageFS != "" {
			path := filepath.Clean(c.ImageFS)
			unique(imagefs, path, "imagefs", "choose another directory for one of them", "directory "+path)
		}
		if c.Pool != "" {
			const remedy = "choose another namespace for one of them: each containerd removes the snapshots of the other"
			unique(namespaces, c.Pool+"/"+c.Namespace, "namespace", remedy, "namespace "+c.Namespace+" of pool "+c.Pool)
		}
	}
}

// checkContainerd checks one table.
func (l *loading) checkContainerd(c Containerd) {
	if c.Pool == "" && !l.hasFault("containerd."+c.Name+".pool") {
		l.containerdFault(c.Name, "pool", "write pool = \"NAME\" in the table", "no pool is set")
	}
	if len(c.Socket) > longestSocket {
		l.containerdFault(c.Name, "socket", "choose a shorter path", "the path has %d bytes, at most %d are allowed",
			len(c.Socket), longestSocket)
	}
	smallest := minSize
	if c.FileSystem == "xfs" {
		smallest = minSizeXFS
	}
	if c.Size != 0 && c.Size < smallest {
		l.containerdFault(c.Name, "size", "write at least "+smallest.Exact()+", or 0 for the pool's base size",
			"%s is too small for %s", c.Size.Exact(), c.FileSystem)
	}
	path := filepath.Clean(c.ImageFS)
	if c.ImageFS != "" && (path == "/" || within(l.Root, path) || within(path, l.Root)) {
		l.containerdFault(c.Name, "imagefs", "choose a directory of its own, such as /run/thinctl/"+c.Name+".fs",
			"a mount at %s would hide the pools", path)
	}
}

// containerdFault adds a fault at a key of a table, or at the table if the key is not set.
func (l *loading) containerdFault(table, key, remedy, format string, args ...any) {
	at := "containerd." + table
	if full := at + "." + key; l.isSet(full) {
		at = full
	}
	l.faults = append(l.faults, faultOf(l.origins[at], at, bad(remedy, format, args...)))
}

// within reports whether path is directory, or below it.
func within(path, directory string) bool {
	path, directory = filepath.Clean(path), filepath.Clean(directory)
	return path == directory || strings.HasPrefix(path, strings.TrimSuffix(directory, "/")+"/")
}

// hasFault reports whether a key has a fault already.
func (l *loading) hasFault(key string) bool {
	return slices.ContainsFunc(l.faults, func(f Fault) bool { return f.Key == key })
}
