// Package imagefs shows a pool's size and available space as those of a mounted file
// system, for programs that read them with statfs(2).
//
// The kubelet is such a program: it collects images and evicts pods by the free space of
// the file system that containerd names as its snapshotter's root (CRI's ImageFsInfo,
// cadvisor's fs.GetDirFsDevice). A thin pool is not a file system. Without this package
// the kubelet would watch the file system that contains the pool's directory.
//
// # Words
//
// The image is a sparse file as large as the pool's data. It is formatted with ext4 and
// mounted read-only over a loop device. No data is stored in it: it occupies about a
// millionth of its size.
//
// # How it works
//
// The file system's size is the pool's. Its available space is set in the kernel's memory
// (see [filesystem.SetAvailable]), without a write. When the pool grows, the image and its
// file system grow online: cadvisor looks up device numbers only when it starts, and would
// not find a new device.
//
// # Caveats
//
// The file system stays mounted, with the last sizes, when the daemon ends; the next
// daemon takes it over. It is made again if its image is gone or larger than the pool. The
// file system's own structures are never available, so that an empty pool shows about
// 0.1 % less available space than it has.
package imagefs
