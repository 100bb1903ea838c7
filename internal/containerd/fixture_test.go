package containerd_test

import (
	"testing"

	"thinctl/internal/testkit/snapshotstest"
	"thinctl/thinpool"
)

var wantError = snapshotstest.WantError

// fixture is a host in memory with one pool and its snapshotter. The test acts as containerd.
type fixture struct{ *snapshotstest.Client }

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return &fixture{snapshotstest.NewClient(t)}
}

func newFixtureOn(t *testing.T, o thinpool.CreateOptions) *fixture {
	t.Helper()
	return &fixture{snapshotstest.NewClientOn(t, o)}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
