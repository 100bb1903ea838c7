package dmtest

import "testing"

func TestContract(t *testing.T) {
	Contract(t, func(t *testing.T) Rig {
		k := New(Options{})
		t.Cleanup(func() {
			if v := k.Violations(); len(v) > 0 {
				t.Errorf("the suite broke the rules itself: %q", v)
			}
			if len(k.opens) > 0 || len(k.devices) > 0 || len(k.pools) > 0 {
				t.Errorf("left over: %d devices, opens %v, %d pools", len(k.devices), k.opens, len(k.pools))
			}
		})
		return NewRig(t, k)
	})
}
