package snapshotstest

import (
	"errors"
	"testing"

	"thinctl/internal/testkit/thinpooltest"
)

// Crash is an operation in a fixture of its own, ready to be stopped at one of its steps.
type Crash struct {
	Fixture *Fixture
	// Run carries out the operation in a process of its own.
	Run func() error
	// Volatile marks an operation whose effect is in the kernel only: a power cut undoes it.
	Volatile bool
	// Recover opens the pool as the next process would, activates it and recovers.
	Recover func() error
	// Verify reports all that neither a finished nor an undone operation leaves behind.
	Verify func() error
	// Done reports whether the operation is done. It is an error if the operation is neither done nor undone.
	Done func() (bool, error)
	// Contents, if set, checks the files that must exist in any case.
	Contents func() error
	// Again carries out the operation in the process that has recovered.
	Again func() error
	// RemoveAll removes everything that the fixture has made, and checks that nothing is left.
	RemoveAll func() error
}

// StopAtEveryStep stops an operation at each of its steps, once with a restart and once with a power cut. It checks
// that the operation is done or undone, that nothing is leaked, and that the operation can be carried out again. The
// function start prepares the operation in a new fixture.
func StopAtEveryStep(t *testing.T, name string, start func(t *testing.T) Crash) {
	t.Helper()
	for _, power := range []bool{false, true} {
		t.Run(name+"/"+map[bool]string{false: "killed", true: "power cut"}[power], func(t *testing.T) {
			t.Parallel()
			// The phases alternate. Where one of the two tests stops before a step, the other stops after it.
			phase, n := thinpooltest.Before, 1
			if power {
				phase = thinpooltest.After
			}
			for start(t).stopped(t, n, phase, power) {
				n += Stride
				phase = thinpooltest.Before + thinpooltest.After - phase
			}
			if n < 3 && !t.Failed() {
				t.Errorf("got %d steps, want at least 2", n-1)
			}
		})
	}
}

// stopped stops the operation at its n-th step, and reports whether it has such a step.
func (c Crash) stopped(t *testing.T, n int, phase thinpooltest.Phase, power bool) bool {
	t.Helper()
	c.Fixture.StopAt(n, phase)
	result := c.Run()
	step, stopped := c.Fixture.Restart()
	if power {
		c.Fixture.PowerOff(t)
	}
	report := func(doing string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("stopped %s step %d (%s), the operation returned %v: %s: %v",
				[...]string{"before", "after"}[phase], n, step, result, doing, err)
		}
	}
	contents := c.Contents
	if contents == nil {
		contents = func() error { return nil }
	}
	report("recover", c.Recover())
	report("verify", c.Verify())
	done, err := c.Done()
	report("check that it is done or undone", err)
	if result == nil && !done && (!power || !c.Volatile) {
		report("check the result", errors.New("got not done, want it done: it was acknowledged"))
	}
	if !stopped && result != nil {
		report("run without a stop", result)
	}
	report("check the contents", contents())
	if !done {
		report("run it again", c.Again())
		done, err := c.Done()
		if !done && err == nil {
			err = errors.New("got not done, want done")
		}
		report("check it after the second run", err)
	}
	report("verify at the end", errors.Join(contents(), c.Verify()))
	report("remove all", c.RemoveAll())
	return stopped && !t.Failed()
}
