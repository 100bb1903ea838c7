// Package changes lists the differences between two mounted file trees, by the
// rules and in the form of docker diff.
//
// # Words
//
//   - The lower tree is the older one, such as an image's. The upper tree is the
//     changed one. A change leads from the lower to the upper tree.
//   - A change is C (modified), A (added) or D (deleted). Everything below an added
//     directory is A. Of a deleted directory only the top is listed.
//   - Two trees have the same origin if both are snapshots of one file system, or
//     one is a snapshot of the other. An unchanged entry then has the same inode
//     number and the same times in both, including the change time, which no program
//     can set.
//
// # Rules
//
// They are those of Docker's devicemapper driver (pkg/archive/changes.go and
// changes_unix.go of moby 20.10):
//
//   - An entry of both trees is C if its mode (with the type), owner, group, device
//     number or capabilities differ. An entry that is not a directory is also C if
//     its size or modification time differs. Two times are the same if they are
//     equal, or if their seconds are equal and one of them has no nanoseconds.
//   - A directory in which something changed is C, and so are the directories above
//     it, except the root.
//   - A directory that became a file is one C. A file that became a directory is C,
//     and its contents are A.
//   - Changes are sorted by the bytes of their paths: /a, /a-b, /a/b.
//
// # Caveats
//
// These rules do not find changes of other extended attributes, content that was
// written without a change of size and modification time, or the modification time
// of a directory. Exact finds the first two.
//
// Before Linux 6.13 change times advance with the kernel's clock tick, every one to
// ten milliseconds. If a snapshot lies between two changes in one tick, the second
// change is found only by a different size. Docker, which compares modification
// times, has the same limit.
//
// Walk does not list what is inside a mount point below the roots, or what the mount
// hides. It recognizes a bind mount from the tree's own device since Linux 5.8.
// statx itself needs Linux 4.11.
//
// The upper tree may be in use. An entry that is removed during the walk is absent,
// and a directory that is replaced by a symbolic link is not followed.
//
// Walk finds all changes before it reports the first. It keeps one pair of
// directories per worker, the subdirectories that are still to be read, and the
// changes, and opens some twenty descriptors per worker at most, for a tree of any
// depth.
//
// # Example
//
//	var total changes.Total
//	err := changes.Walk(ctx, lower, upper, changes.Options{SameOrigin: true}, func(c changes.Change) error {
//		total.Add(c)
//		_, err := fmt.Println(c) // C /etc
//		return err
//	})
package changes
