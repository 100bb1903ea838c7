package dmtest

import (
	"errors"
	"fmt"
	"sync"

	"thinctl/dm"
)

// The names of the calls in [Call.Op].
const (
	opVersion       = "version"
	opTargetVersion = "find target"
	opTargets       = "list targets"
	opCreate        = "create"
	opRemove        = "remove"
	opRename        = "rename"
	opOwnNode       = "own node"
	opLoad          = "load"
	opClear         = "clear"
	opSuspend       = "suspend"
	opResume        = "resume"
	opInfo          = "info"
	opTable         = "table"
	opStatus        = "status"
	opDeps          = "deps"
	opList          = "list"
	opMessage       = "message"
	opWait          = "wait"
)

// Phase is the moment of a fault.
type Phase int

// The phases. In both the call returns the fault's error.
const (
	Before Phase = iota // the call has no effect
	After               // the call has had its effect
)

func (p Phase) String() string {
	if p == After {
		return "after"
	}
	return "before"
}

// Call describes one call of a [dm.Kernel] method for a fault function.
type Call struct {
	// Op is the method: "create", "remove", "own node", "rename", "load", "clear",
	// "suspend", "resume", "info", "table", "status", "deps", "list", "message", "wait",
	// "version", "find target" or "list targets".
	Op     string
	Ref    dm.Ref
	Detail string // the message, the table's lines, the new name
	Phase  Phase
}

func (c Call) String() string {
	return fmt.Sprintf("%s %s %s %s", c.Phase, c.Op, c.Ref, c.Detail)
}

// ErrStopped is the error of all calls after [StopAt] has stopped the caller.
var ErrStopped = errors.New("dmtest: the caller is stopped")

type faults struct {
	mu    sync.Mutex
	fault func(Call) error
	calls int
}

// inject returns the fault for a call, if there is one.
func (f *faults) inject(c Call) error {
	f.mu.Lock()
	if c.Phase == Before {
		f.calls++
	}
	fault := f.fault
	f.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(c)
}

// SetFault replaces the fault function. With nil there are no faults.
func (k *Kernel) SetFault(fault func(Call) error) {
	k.faults.mu.Lock()
	defer k.faults.mu.Unlock()
	k.faults.fault = fault
}

// Calls returns the number of calls so far, including failed ones.
func (k *Kernel) Calls() int {
	k.faults.mu.Lock()
	defer k.faults.mu.Unlock()
	return k.faults.calls
}

// Restart removes the fault function, for a new process on the same kernel. Devices
// stay, as they do when a process is killed.
func (k *Kernel) Restart() { k.SetFault(nil) }

// StopAt returns a fault function that stops the caller at its n-th call, counted from
// 1. That call, before or after its effect, and all later ones fail with [ErrStopped].
//
//	for n := 1; ; n++ {
//		kernel.SetFault(dmtest.StopAt(n, dmtest.After))
//		err := pool.Snapshot(ctx, ...)
//		kernel.Restart()
//		if !errors.Is(err, dmtest.ErrStopped) {
//			break // the operation is complete
//		}
//		... recover, and check
//	}
func StopAt(n int, phase Phase) func(Call) error {
	var mu sync.Mutex
	begun, stopped := 0, false
	return func(c Call) error {
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			return fmt.Errorf("%s: %w", c, ErrStopped)
		}
		if c.Phase == Before {
			begun++
		}
		if begun >= n && c.Phase == phase {
			stopped = true
			return fmt.Errorf("%s: %w", c, ErrStopped)
		}
		return nil
	}
}
