package remedy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

func poolError(op string, code thinpool.CureCode, err error) error {
	return &thinpool.Error{Op: op, Object: "pool vault", Err: err, Cure: thinpool.Cure{Code: code, Pool: "vault"}}
}

func TestText(t *testing.T) {
	inactive := poolError("status", thinpool.CureActivate, thinpool.ErrInactive)
	const text = "status pool vault: the pool is not active; run `thinctl pool activate vault`"
	for _, test := range []struct {
		name, want string
		err        error
	}{
		{"no cure", "file does not exist", fs.ErrNotExist},
		{"no cure in an error of a pool", "open pool vault: file does not exist; put it back",
			&thinpool.Error{Op: "open", Object: "pool vault", Err: fs.ErrNotExist, Remedy: "put it back"}},
		{"cure", text, inactive},
		{"wrapped", "load a.tar: " + text, fmt.Errorf("load a.tar: %w", inactive)},
		{"in the middle", "(" + text + ") while it was read", fmt.Errorf("(%w) while it was read", inactive)},
		{"in an error with a cure", "find volume web: " + text + "; `thinctl layer list` shows what there is",
			&snapshots.Error{Op: "find", Object: "volume web", Err: inactive,
				Cure: layers.Cure{Code: layers.CureList, What: "layer"}}},
		{"each of those joined", text + "\nfile does not exist\n" + text, errors.Join(inactive, fs.ErrNotExist, inactive)},
		{"after the remedy", "open pool vault; put it back; run `thinctl pool check vault`",
			&fault.Error{Op: "open", Object: "pool vault", Remedy: "put it back", Cure: thinpool.Cure{Code: thinpool.CureCheck, Pool: "vault"}}},
		{"continues the text", "extend pool vault: the pool is on files: give the new size with --data or --metadata",
			poolError("extend", thinpool.CureGiveSizes, errors.New("the pool is on files"))},
		{"text of a cause is not in the error", "hidden", hiding{inactive}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Text(test.err); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			added := Add(test.err)
			if got := Text(fmt.Errorf("x: %w", added)); got != "x: "+test.want {
				t.Errorf("Add in another error: got %q, want it as it is", got)
			}
			if added.Error() != test.want || !errors.Is(added, test.err) {
				t.Errorf("Add: got %q, want %q around the error", added, test.want)
			}
		})
	}
	if Add(nil) != nil {
		t.Error("Add of no error is an error")
	}
}

// hiding is an error without the text of its cause.
type hiding struct{ cause error }

func (hiding) Error() string   { return "hidden" }
func (h hiding) Unwrap() error { return h.cause }

func TestFinding(t *testing.T) {
	cure := thinpool.Cure{Code: thinpool.CureAgree, Pool: "vault"}
	detail, remedy := Finding(thinpool.Finding{Detail: "it differs", Remedy: "restore the other one", Cure: cure})
	want := "restore the other one; otherwise `thinctl pool repair vault` makes the database agree with the metadata"
	if detail != "it differs" || remedy != want {
		t.Errorf("got %q and %q, want the detail and %q", detail, remedy, want)
	}
	err := poolError("check", thinpool.CureCheck, thinpool.ErrInactive)
	detail, remedy = Finding(thinpool.Finding{Detail: err.Error(), Err: err})
	if want := "check pool vault: the pool is not active; run `thinctl pool check vault`"; detail != want || remedy != "" {
		t.Errorf("got %q and %q, want %q and no remedy", detail, remedy, want)
	}
}

func TestLogAttr(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: LogAttr}))
	log.Warn("not read", "error", poolError("status", thinpool.CureActivate, nil), "count", 3, "none", error(nil))
	want := "error=\"status pool vault; run `thinctl pool activate vault`\" count=3 none=<nil>\n"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("got %q, want %q at the end", out.String(), want)
	}
}
