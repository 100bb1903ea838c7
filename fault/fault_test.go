package fault_test

import (
	"errors"
	"io/fs"
	"testing"

	"thinctl/fault"
)

var errKind = errors.New("in use")

type cure struct{}

func (cure) IsCure() {}

func TestError(t *testing.T) {
	for _, c := range []struct {
		want string
		err  fault.Error
	}{
		{"remove pool vault: in use: 2 volumes are open: file does not exist; close them",
			fault.Error{Op: "remove", Object: "pool vault", Kind: errKind, Detail: "2 volumes are open", Err: fs.ErrNotExist, Remedy: "close them"}},
		{"load a.tar: manifest.json: file does not exist", fault.Error{Op: "load", Object: "a.tar", Part: "manifest.json", Err: fs.ErrNotExist}},
		{"in use; wait", fault.Error{Kind: errKind, Remedy: "wait"}},
		{"in use; wait", fault.Error{Kind: errKind, Remedy: "wait", Cure: cure{}}},
		{"stat /x", fault.Error{Op: "stat", Object: "/x"}},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
		for _, cause := range []error{errKind, fs.ErrNotExist} {
			if has := errors.Is(c.err.Kind, cause) || errors.Is(c.err.Err, cause); errors.Is(&c.err, cause) != has {
				t.Errorf("%q is %v: %v, want %v", &c.err, cause, !has, has)
			}
		}
	}
}
