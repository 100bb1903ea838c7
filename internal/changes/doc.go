// Package changes says what differs between two mounted file trees, by the
// rules and in the form of docker diff.
//
// # Words
//
//   - The lower tree is the older one, such as an image's; the upper is what
//     became of it. A change leads from the lower to the upper.
//   - A change is C (modified), A (added) or D (deleted). Below an added folder
//     everything is A; of a deleted one only the top is told.
//   - Two trees have the same origin where both are snapshots of one file
//     system, or one is a snapshot of the other. What nobody touched then has
//     the same inode number and the same times in both, down to the change time,
//     which no program can set.
//
// # Rules
//
// They are those of Docker's devicemapper driver (pkg/archive/changes.go and
// changes_unix.go of moby 20.10):
//
//   - An entry of both trees is C if mode (with the type), owner, group, device
//     number or capabilities differ; or, unless it is a folder, size or
//     modification time. Two times are the same if they are equal, or equal to
//     the second while one of them has no nanoseconds.
//   - A folder in which something changed is C as well, and so is each above it,
//     but never the root itself.
//   - A folder that became a file is one C; a file that became a folder is C,
//     and what is in it A.
//   - Changes come sorted by the bytes of their paths: /a, /a-b, /a/b.
//
// # Caveats
//
// These rules do not see other extended attributes, content written without a
// trace in size and modification time, or a folder's modification time. Exact
// shows the first two.
//
// Change times tick with the kernel's clock, every one to ten milliseconds
// before Linux 6.13: of two changes in one tick, with the snapshot between them,
// the second is seen by its size alone. Docker, which goes by modification
// times, has the same limit.
//
// Nothing is told of what is inside a mount point below the roots, nor of what
// it hides. A bind mount from the tree's own device is known as one since
// Linux 5.8; statx itself needs 4.11.
//
// The upper tree may be in use. What vanishes during the walk is absent, and a
// folder that is swapped for a symbolic link leads nowhere.
//
// All changes are found before the first is told. A walk holds one pair of
// folders per worker, the subfolders still to be read, and the changes; and at
// most some twenty descriptors per worker, however deep the tree.
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
