package dmtest

import "testing"

func TestContract(t *testing.T) {
	Contract(t, func(t *testing.T) Fixture {
		k := New(Options{})
		t.Cleanup(func() {
			if v := k.Violations(); len(v) > 0 {
				t.Errorf("violations by the suite: got %q, want none", v)
			}
			if len(k.opens) > 0 || len(k.devices) > 0 || len(k.pools) > 0 {
				t.Errorf("at the end: got %d devices, opens %v, %d pools, want none", len(k.devices), k.opens, len(k.pools))
			}
		})
		return NewFixture(t, k)
	})
}
