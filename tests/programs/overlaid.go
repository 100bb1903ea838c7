package programs

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"thinctl/internal/testkit/imagetest"
)

// overlaid returns the tree of directories below root, the topmost first, as overlayfs
// shows it.
func overlaid(ctx context.Context, root string, dirs []string) (tree imagetest.Tree, err error) {
	if len(dirs) == 1 {
		dir, err := filepath.EvalSymlinks(filepath.Join(root, dirs[0]))
		if err != nil {
			return nil, err
		}
		return imagetest.ReadTree(ctx, dir)
	}
	target, err := os.MkdirTemp("", "tree-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(target)
	in := command{ctx: ctx, dir: root}
	if _, err := in.run("mount", "-t", "overlay", "overlay", "-o", "ro,lowerdir="+strings.Join(dirs, ":"),
		target); err != nil {
		return nil, err
	}
	defer func() {
		if _, unmounted := Run(ctx, "umount", target); err == nil {
			err = unmounted
		}
	}()
	tree, err = imagetest.ReadTree(ctx, target)
	return tree.Overlaid(), err
}
