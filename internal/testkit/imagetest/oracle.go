package imagetest

import (
	"archive/tar"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Tree returns the expected file tree after all layers were applied, by the rules of the
// OCI image specification ("Applying Changesets").
func (i Image) Tree() (Tree, error) {
	return treeOf(i.Layers)
}

func treeOf(layers []Layer) (Tree, error) {
	a := applied{inode: map[string]*Node{}}
	for n, l := range layers {
		a.lower = maps.Clone(a.inode)
		for _, e := range l.Entries {
			if err := a.apply(e); err != nil {
				return nil, fmt.Errorf("layer %d: %w", n, err)
			}
		}
	}
	return a.tree(), nil
}

// applied is a tree to which layers are applied. Names of one inode share the node.
type applied struct {
	inode map[string]*Node
	lower map[string]*Node // the tree before the current layer
}

func (a *applied) apply(e Entry) error {
	dir, base := path.Split(e.Path)
	if base == opaqueName {
		a.removeLower(strings.TrimSuffix(dir, "/"))
		return nil
	}
	if name, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		a.remove(dir + name)
		return nil
	}
	there, ok := a.inode[e.Path]
	if ok && (there.Type != 'd' || e.Type != tar.TypeDir) {
		a.remove(e.Path)
	}
	if e.Type == tar.TypeLink {
		to, ok := a.inode[e.Link]
		if !ok {
			return fmt.Errorf("%q is a hard link to %q, which does not exist", e.Path, e.Link)
		}
		a.inode[e.Path] = to
		return nil
	}
	a.inode[e.Path] = e.node()
	return nil
}

func (a *applied) remove(name string) {
	delete(a.inode, name)
	maps.DeleteFunc(a.inode, func(p string, _ *Node) bool { return strings.HasPrefix(p, name+"/") })
}

// removeLower removes the files of lower layers in a directory, but keeps the current
// layer's files.
func (a *applied) removeLower(dir string) {
	maps.DeleteFunc(a.inode, func(p string, n *Node) bool {
		return strings.HasPrefix(p, dir+"/") && a.lower[p] == n
	})
}

func (e Entry) node() *Node {
	letters := map[byte]byte{tar.TypeReg: 'f', tar.TypeDir: 'd', tar.TypeSymlink: 'l',
		tar.TypeChar: 'c', tar.TypeBlock: 'b', tar.TypeFifo: 'p'}
	n := &Node{
		Type: letters[e.Type], Mode: e.Mode, UID: e.UID, GID: e.GID, Time: e.Time.UnixNano(),
		Xattrs: e.Xattrs, Major: e.Major, Minor: e.Minor,
	}
	if e.GNUSparse {
		n.Time -= n.Time % 1e9
	}
	switch n.Type {
	case 'f':
		n.Size, n.Content = e.Content.size(), e.Content.digest()
	case 'l':
		n.Target = e.Link
	}
	return n
}

func (a *applied) tree() Tree {
	names := map[*Node][]string{}
	for _, p := range slices.Sorted(maps.Keys(a.inode)) {
		n := a.inode[p]
		names[n] = append(names[n], p)
	}
	t := Tree{}
	for p, n := range a.inode {
		one := *n
		if len(names[n]) > 1 {
			one.Group = names[n][0]
		}
		t[p] = one
	}
	return t
}
