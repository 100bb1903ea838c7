// Package imagefs shows a pool's size and available space as those of a mounted file
// system, for programs that read them with statfs(2).
//
// The kubelet is such a program: it collects images and evicts pods by the free space of
// the file system that containerd names as its snapshotter's root (CRI's ImageFsInfo,
// cadvisor's fs.GetDirFsDevice). A thin pool is no file system, so that without this
// package the kubelet watches the one on which the pool's directory happens to lie.
//
// # Words
//
// The image is a sparse file as large as the pool's data, formatted with ext4, behind a
// loop device, and mounted read-only. Nothing is stored in it: the image takes about a
// millionth of its size.
//
// # How it works
//
// The file system's size is the pool's. Its available space is set in the kernel's memory
// (see [filesystem.SetAvailable]), which writes nothing. When the pool has grown, the
// image and its file system are grown online, because cadvisor looks up device numbers
// only when it starts: a new device would not be found.
//
// # Caveats
//
// What is mounted stays when the daemon ends, with the last figures; the next daemon finds
// it. It is made again when its image is gone, or when the pool is smaller than it. The
// file system's own structures are never available: a pool that is empty is shown about
// 0.1 % less.
package imagefs
