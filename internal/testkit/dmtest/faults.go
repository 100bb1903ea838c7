package dmtest

import (
	"errors"
	"fmt"
	"sync"

	"thinctl/dm"
)

// Names of calls in [Call.Op].
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

// Phase tells when a fault is asked for.
type Phase int

// A fault Before means that the call is not done; one After, that it is done
// but its caller hears of an error.
const (
	Before Phase = iota
	After
)

func (p Phase) String() string {
	if p == After {
		return "after"
	}
	return "before"
}

// Call is one call of a [dm.Kernel] method, as a fault function sees it.
type Call struct {
	Op     string // "create", "remove", "own node", "rename", "load", "clear", "suspend", "resume", "info", "table", "status", "deps", "list", "message", "wait", "version", "find target", "list targets"
	Ref    dm.Ref
	Detail string // the message, the table's lines, the new name
	Phase  Phase
}

func (c Call) String() string {
	return fmt.Sprintf("%s %s %s %s", c.Phase, c.Op, c.Ref, c.Detail)
}

// ErrStopped is what calls return once [StopAt] has stopped the caller: to it
// the world has ended.
var ErrStopped = errors.New("dmtest: stopped here")

type faults struct {
	mu    sync.Mutex
	fault func(Call) error
	calls int
}

func (f *faults) ask(c Call) error {
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

// SetFault replaces the fault function; nil for none.
func (k *Kernel) SetFault(fault func(Call) error) {
	k.faults.mu.Lock()
	defer k.faults.mu.Unlock()
	k.faults.fault = fault
}

// Calls returns how many calls have been made, refused ones included.
func (k *Kernel) Calls() int {
	k.faults.mu.Lock()
	defer k.faults.mu.Unlock()
	return k.faults.calls
}

// Restart takes the fault function away: the caller is a new process over the
// same kernel. Devices stay, as they do when a process is killed.
func (k *Kernel) Restart() { k.SetFault(nil) }

// StopAt returns a fault function that stops the caller at its n-th call,
// counted from 1: the call fails with [ErrStopped], not done or done by phase,
// and so does every later one.
//
//	for n := 1; ; n++ {
//		kernel.SetFault(dmtest.StopAt(n, dmtest.After))
//		err := pool.Snapshot(ctx, ...)
//		kernel.Restart()
//		if !errors.Is(err, dmtest.ErrStopped) {
//			break // it ran to its end
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
