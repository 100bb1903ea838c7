package imagetest

import "strings"

// WithoutStubs returns a container's tree without the mount points for the runtime that the
// container's init layer added to the image's tree.
func (t Tree) WithoutStubs(image Tree) Tree {
	less := Tree{}
	for path, n := range t {
		if _, ok := image[path]; ok || !stub(path) {
			less[path] = n
		}
	}
	return less
}

func stub(path string) bool {
	for _, s := range []string{"dev/pts", "dev/shm", "proc", "sys", ".dockerenv", "etc/resolv.conf", "etc/hosts",
		"etc/hostname", "dev/console", "etc/mtab"} {
		if path == s || strings.HasPrefix(s, path+"/") {
			return true
		}
	}
	return false
}
