package imagetest

import "testing"

func TestOverlaid(t *testing.T) {
	tree := Tree{"a": {Group: "a"}, "b": {Group: "b"}, "c": {Group: "b"}, "d": {}}
	want := Tree{"a": {}, "b": {Group: "b"}, "c": {Group: "b"}, "d": {}}
	for _, line := range want.Diff(tree.Overlaid(), 4) {
		t.Error(line)
	}
}
