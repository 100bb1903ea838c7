// Package ext4 finds what may differ between two states of an ext4 file system. It reads
// the blocks that differ instead of the two trees, so that its time depends on the changes
// and not on the size of the file system.
//
// # Result
//
// [Changed] returns a set of paths for [changes.Options].Only. A walk of only these
// paths finds the same changes as a walk of both trees with SameOrigin. The set may have
// paths that do not differ.
//
// # Why this is complete
//
// A walk compares names, and the inode behind each name. Take a directory that both
// trees have at the same path with the same inode number, and a name in it:
//
//   - The name leads to another inode, or is on one side only. The entry was then
//     written, and each write of an entry raises the version number of the directory's
//     inode (i_version) and sets its times: add_dirent_to_buf, ext4_generic_delete_entry
//     and ext4_setent in fs/ext4/namei.c, and the same in fs/ext4/inline.c. So the
//     record of the directory differs. [Changed] compares the entries of each directory
//     with a different record.
//   - The name leads to the same inode. A walk then compares the owner, the mode, the
//     size, the times and the device number. All of them are in the record, so
//     the records differ. A walk with SameOrigin reads the attributes and the content
//     only if the change time differs: notify_change, ext4_xattr_set_handle and
//     file_update_time set it. [Changed] finds all names of each inode with a
//     different record: the number of links is the number of names.
//   - The name leads to the same inode, which is a directory on both sides. The
//     argument applies to it in turn.
//
// A walk compares everything in a directory that was added or that has another inode
// number, so [Changed] needs no paths below it. Data written through a shared mapping
// are found too: a freeze writes all dirty pages and write-protects them
// (folio_clear_dirty_for_io), and the first store after it calls file_update_time
// (ext4_page_mkwrite).
//
// A record that differs is in a range that differs. Access times and checksums are not
// compared.
//
// # Limits
//
//   - Two changes of an inode in one tick of the kernel's clock have the same time. The
//     second is found only if something else in the record differs, as in a walk with
//     SameOrigin.
//   - e2fsck and debugfs may change directories without their inodes. The result is
//     [fault.Unsupported] after a run of e2fsck, which sets s_lastcheck. Changes by
//     debugfs are not found.
//
// # Fallback
//
// Anything unknown or inconsistent is an error of the kind [fault.Unsupported]; the
// caller then walks the trees. Both file systems must be clean: unmounted, or a
// snapshot that was taken while the file system was frozen. Encrypted and
// case-insensitive directories, and attributes in inodes of their own (ea_inode), are
// not supported.
//
// The format is that of fs/ext4/ext4.h and Documentation/filesystems/ext4.
package ext4
