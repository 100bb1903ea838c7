package layertar

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	continuity "github.com/containerd/continuity/fs"
	"golang.org/x/sys/unix"
)

// replaceParents removes what a lower layer has where an entry needs a
// directory; containerd then makes the directory. On overlayfs containerd and
// Docker unpack into a tree of the layer alone, where nothing is in the way. On
// a whole tree containerd fails with ENOTDIR. What the layer itself brought is
// kept, and containerd fails, as it does on overlayfs.
func (t *tree) replaceParents(h *tar.Header) (bool, error) {
	dir := path.Clean("/" + path.Dir(h.Name))[1:]
	if dir == "" || dir == t.parent {
		return true, nil
	}
	t.parent = dir
	if info, err := t.confined.Lstat(dir); err == nil && info.IsDir() {
		return true, nil
	}
	at, err := t.obstacle(dir)
	if err != nil || at == "" {
		return err == nil, err
	}
	t.warn.Add(t.queue.at.name, "%s is no directory in the layers below; it becomes one", t.relative(at))
	return true, os.Remove(at)
}

// obstacle returns what lower layers have in place of dir or of a directory above
// it, "" for nothing. Symbolic links are followed inside the root.
func (t *tree) obstacle(dir string) (string, error) {
	above := t.root
	for name := range strings.SplitSeq(dir, "/") {
		at := filepath.Join(above, name)
		resolved, err := continuity.RootPath(t.root, t.relative(at))
		var info fs.FileInfo
		if err == nil {
			info, err = os.Lstat(resolved)
		}
		switch {
		case err == nil && info.IsDir():
			above = resolved
			continue
		case err != nil && !errors.Is(err, unix.ENOTDIR):
			return "", nil // containerd makes the directory, or reports the error
		case t.applied[t.relative(at)] == nil:
			return at, nil
		case resolved != "" && t.applied[t.relative(resolved)] == nil:
			return resolved, nil
		}
		return "", nil
	}
	return "", nil
}
