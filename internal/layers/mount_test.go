package layers

import (
	"slices"
	"testing"

	"thinctl/snapshots/filesystem"
)

func TestMountLabel(t *testing.T) {
	o := mountOptions(Container{FS: filesystem.XFS, MountLabel: "system_u:object_r:container_file_t:s0:c1,c2"}, false)
	if !slices.Equal(o.Options, []string{`context="system_u:object_r:container_file_t:s0:c1,c2"`}) || !o.FailWhenFull {
		t.Errorf("xfs with a label: got %+v, want its context, and failing when full", o)
	}
	if o := mountOptions(Container{FS: filesystem.Ext4}, true); o.Options != nil || !o.ReadOnly {
		t.Errorf("ext4, read-only: got %+v, want no options and read-only", o)
	}
}
