package filesystem

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// MountOptions are the options of Mount. The zero value mounts the type that Detect
// finds, read-write, at an existing target.
type MountOptions struct {
	Type     Type
	ReadOnly bool
	// NoRecovery mounts without a replay of the journal, for a snapshot that must not
	// be written to. It requires ReadOnly.
	NoRecovery bool
	// MakeTarget makes the target and its parent directories, with mode 0700.
	MakeTarget bool
	// FailWhenFull makes an xfs fail if it finds no space in a thin pool, instead of
	// retrying forever, if the kernel has this setting. Other file systems always fail.
	FailWhenFull bool
	// Options are those of mount(8)'s -o: flags such as noatime, or options of the
	// file system. A comma between double quotes is not a separator.
	Options []string
}

// flagNames returns the names that mount(8) has for flags, each with the flags to set
// and to clear.
func flagNames() map[string][2]uintptr {
	const atime = unix.MS_NOATIME | unix.MS_RELATIME | unix.MS_STRICTATIME
	return map[string][2]uintptr{
		"defaults":    {0, 0},
		"rw":          {0, unix.MS_RDONLY},
		"ro":          {unix.MS_RDONLY, 0},
		"nosuid":      {unix.MS_NOSUID, 0},
		"suid":        {0, unix.MS_NOSUID},
		"nodev":       {unix.MS_NODEV, 0},
		"dev":         {0, unix.MS_NODEV},
		"noexec":      {unix.MS_NOEXEC, 0},
		"exec":        {0, unix.MS_NOEXEC},
		"sync":        {unix.MS_SYNCHRONOUS, 0},
		"async":       {0, unix.MS_SYNCHRONOUS},
		"dirsync":     {unix.MS_DIRSYNC, 0},
		"lazytime":    {unix.MS_LAZYTIME, 0},
		"noatime":     {unix.MS_NOATIME, atime},
		"relatime":    {unix.MS_RELATIME, atime},
		"strictatime": {unix.MS_STRICTATIME, atime},
		"nodiratime":  {unix.MS_NODIRATIME, 0},
		"diratime":    {0, unix.MS_NODIRATIME},
	}
}

// resolve returns the flags and the data for mount(2), or all faults at once.
func (o MountOptions) resolve() (flags uintptr, data string, err error) {
	var faults, own []string
	known := flagNames()
	for _, option := range o.Options {
		for _, word := range splitOptions(option) {
			change, isFlag := known[word]
			switch {
			case slices.Contains([]string{"", "remount", "bind", "rbind", "move"}, word) || strings.ContainsRune(word, 0):
				faults = append(faults, fmt.Sprintf("option %q cannot be used to mount a device", word))
			case isFlag:
				flags = flags&^change[1] | change[0]
			default:
				own = append(own, word)
			}
		}
	}
	if o.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	readOnly := flags&unix.MS_RDONLY != 0
	add := func(word string) {
		if !slices.Contains(own, word) {
			own = append(own, word)
		}
	}
	switch o.Type {
	case XFS:
		add("nouuid") // a snapshot has the UUID of its origin
		if o.NoRecovery {
			add("norecovery")
		}
	case Ext4:
		if o.NoRecovery {
			add("noload")
		}
		asked := slices.ContainsFunc(own, func(w string) bool {
			return w == "init_itable" || strings.HasPrefix(w, "init_itable=")
		})
		if !readOnly && !asked {
			add("noinit_itable")
		}
	default:
		faults = append(faults, fmt.Sprintf("type %q is neither ext4 nor xfs", o.Type))
	}
	if o.NoRecovery && !readOnly {
		faults = append(faults, "without recovery of its journal a file system can only be mounted read-only")
	}
	if faults != nil {
		return 0, "", invalid(strings.Join(faults, "; "))
	}
	return flags, strings.Join(own, ","), nil
}

// splitOptions splits options at commas outside of double quotes, as the kernel does
// (security/selinux/hooks.c, opt_len): the categories of an SELinux context have commas.
func splitOptions(options string) []string {
	var words []string
	begin, quoted := 0, false
	for i := range len(options) {
		switch {
		case options[i] == '"':
			quoted = !quoted
		case options[i] == ',' && !quoted:
			words = append(words, options[begin:i])
			begin = i + 1
		}
	}
	return append(words, options[begin:])
}
