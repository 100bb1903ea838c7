package imagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ReadTree reads the file tree below root.
func ReadTree(ctx context.Context, root string) (Tree, error) {
	t := Tree{}
	first := map[uint64]string{} // by inode, of those with several names
	err := filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || full == root {
			return err
		}
		path := strings.TrimPrefix(full, strings.TrimSuffix(root, "/")+"/")
		n, info, err := readNode(full)
		if err != nil {
			return fmt.Errorf("read the tree at %q: %w", path, err)
		}
		if n.Type != 'd' && info.Nlink > 1 {
			// The walk is in the order of directories, not of whole paths.
			if there, ok := first[info.Ino]; !ok || path < there {
				first[info.Ino] = path
			}
			n.Group = fmt.Sprint(info.Ino)
		}
		t[path] = n
		return nil
	})
	if err != nil {
		return nil, err
	}
	shared := map[string]string{}
	for ino, path := range first {
		shared[fmt.Sprint(ino)] = path
	}
	for path, n := range t {
		n.Group = shared[n.Group]
		t[path] = n
	}
	return t, nil
}

func readNode(path string) (Node, syscall.Stat_t, error) {
	var info syscall.Stat_t
	if err := syscall.Lstat(path, &info); err != nil {
		return Node{}, info, err
	}
	n := Node{Mode: info.Mode & 0o7777, UID: int(info.Uid), GID: int(info.Gid), Time: info.Mtim.Nano()}
	var err error
	switch info.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		n.Type, n.Size = 'f', info.Size
		n.Content, err = readContent(path, info.Size)
	case syscall.S_IFDIR:
		n.Type = 'd'
	case syscall.S_IFLNK:
		n.Type = 'l'
		n.Target, err = os.Readlink(path)
		return n, info, err // xattrs of links are not the tar's
	case syscall.S_IFCHR:
		n.Type = 'c'
	case syscall.S_IFBLK:
		n.Type = 'b'
	case syscall.S_IFIFO:
		n.Type = 'p'
	case syscall.S_IFSOCK:
		n.Type = 's'
	}
	if n.Type == 'c' || n.Type == 'b' {
		n.Major, n.Minor = deviceNumber(info.Rdev)
	}
	if err != nil {
		return n, info, err
	}
	n.Xattrs, err = readXattrs(path)
	return n, info, err
}

// deviceNumber returns a device number as stat does (include/linux/kdev_t.h).
func deviceNumber(dev uint64) (major, minor uint32) {
	major = uint32(dev>>8&0xfff | dev>>32&^0xfff)
	return major, uint32(dev&0xff | dev>>12&0xffffff00)
}

// Of lseek(2).
const (
	seekData = 3
	seekHole = 4
)

func readContent(path string, size int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	d := newDigester()
	for at := int64(0); at < size; {
		data, err := f.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) {
			data, err = size, nil
		}
		if err != nil {
			return "", err
		}
		d.skip(data - at)
		if data == size {
			break
		}
		hole, err := f.Seek(data, seekHole)
		if err != nil {
			return "", err
		}
		if _, err := f.Seek(data, io.SeekStart); err != nil {
			return "", err
		}
		if _, err := io.CopyN(d, f, hole-data); err != nil {
			return "", err
		}
		at = hole
	}
	return d.sum(), nil
}

// readXattrs leaves out the attributes that a mount or a policy sets on each file.
func readXattrs(path string) (map[string]string, error) {
	list, err := grown(func(to []byte) (int, error) { return syscall.Listxattr(path, to) })
	if errors.Is(err, syscall.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	found := map[string]string{}
	for name := range strings.SplitSeq(string(list), "\x00") {
		if name == "" || name == "security.selinux" || strings.HasPrefix(name, "trusted.overlay.") {
			continue
		}
		value, err := grown(func(to []byte) (int, error) { return syscall.Getxattr(path, name, to) })
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %s: %w", name, err)
		}
		found[name] = string(value)
	}
	return found, nil
}

func grown(read func([]byte) (int, error)) ([]byte, error) {
	for size := 512; ; size *= 4 {
		to := make([]byte, size)
		n, err := read(to)
		if err == nil {
			return to[:n], nil
		}
		if !errors.Is(err, syscall.ERANGE) || size > 1<<20 {
			return nil, err
		}
	}
}
