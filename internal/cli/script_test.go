package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/units"
)

func TestMain(m *testing.M) {
	// The real program is needed to test signals and exit codes.
	testscript.Main(m, map[string]func(){"thinctl-binary": Main})
}

// TestScripts runs testdata/*.txt. Each script has a machine in memory:
//
//	thinctl ARGS         one command line; it must succeed
//	! thinctl ARGS       it must fail
//	code N               the last command line's exit code
//	answer TEXT          a user at a terminal types TEXT
//	user N               the user id, 0 at first
//	kernel FAULT         none, no-thin, denied: another kernel
//	device FILE SIZE [busy|ext4]   FILE becomes a block device
//	grow FILE SIZE       and has another size
//	hold|release POOL/VOLUME       another namespace uses a volume
//	write POOL/VOLUME SIZE         data is written to its start
//	fail TEXT            file system tools fail with TEXT, until `fail` alone
//	damage               no node of a pool's metadata can be read
//	metadata FILE [KIND]           FILE becomes thin pool metadata: sound, or as KIND says, or `damage NAME`
//	hostfull             the host's file system is nearly full
//	message POOL TEXT    another program sends the pool's device a message
//	needscheck POOL      the kernel meets an error in the metadata
//	suspend POOL         the pool's device is suspended
//	readable FILE        its permissions are 0644
//	alone FILE           nothing else is in its directory
//	remember, unchanged  the root and the kernel are as remembered
//	json PATH VALUE      the last result is JSON and has VALUE there
func TestScripts(t *testing.T) {
	var cliOnce sync.Mutex
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			root := filepath.Join(env.WorkDir, "root")
			env.Setenv("THINCTL_ROOT", root)
			// thinpool.Create creates the root before it checks the rest. Scripts compare the
			// contents of the root.
			if err := os.Mkdir(root, 0o700); err != nil {
				return err
			}
			env.Values[machineKey{}] = newMachine(env.WorkDir)
			return nil
		},
		Cmds: scriptCommands(&cliOnce),
	})
}

// scriptCommands returns the commands of scripts. urfave/cli writes to its help flag at each run,
// and only tests run it more than once in a process.
func scriptCommands(cliOnce *sync.Mutex) map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"thinctl": func(ts *testscript.TestScript, neg bool, args []string) { of(ts).thinctl(ts, neg, args, cliOnce) },
		"code": func(ts *testscript.TestScript, _ bool, args []string) {
			if got := strconv.Itoa(of(ts).code); got != args[0] {
				ts.Fatalf("exit code %s, want %s", got, args[0])
			}
		},
		"answer": func(ts *testscript.TestScript, _ bool, args []string) {
			of(ts).answer = strings.Join(args, " ") + "\n"
		},
		"user": func(ts *testscript.TestScript, _ bool, args []string) { of(ts).uid = must(strconv.Atoi(args[0])) },
		"kernel": func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Check(of(ts).setKernel(args[0]))
		},
		"device": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(of(ts).addDevice(ts, args)) },
		"grow": func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Check(os.Truncate(ts.MkAbs(args[0]), bytesOf(args[1])))
		},
		"hold":    func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(of(ts).hold(args[0])) },
		"release": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(of(ts).release(args[0])) },
		"write":   func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(of(ts).write(args[0], args[1])) },
		"fail":    func(ts *testscript.TestScript, _ bool, args []string) { of(ts).fail(strings.Join(args, " ")) },
		"damage":  func(ts *testscript.TestScript, _ bool, _ []string) { of(ts).host.disks.damageNodes() },
		"metadata": func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Check(metadatatest.WriteFile(ts.MkAbs(args[0]), args[1:]...))
		},
		"hostfull":   func(ts *testscript.TestScript, _ bool, _ []string) { of(ts).host.disks.full = true },
		"message":    func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(of(ts).message(args[0], args[1])) },
		"needscheck": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(of(ts).failMetadata(args[0])) },
		"suspend":    func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(of(ts).suspend(args[0])) },
		"readable": func(ts *testscript.TestScript, _ bool, args []string) {
			if info := must(os.Stat(ts.MkAbs(args[0]))); info.Mode() != 0o644 {
				ts.Fatalf("%s: got mode %s, want 0644", args[0], info.Mode())
			}
		},
		"alone": func(ts *testscript.TestScript, _ bool, args []string) {
			if entries := must(os.ReadDir(filepath.Dir(ts.MkAbs(args[0])))); len(entries) != 1 {
				ts.Fatalf("got entries %v, want only %s", entries, args[0])
			}
		},
		"remember": func(ts *testscript.TestScript, _ bool, _ []string) { of(ts).remembered = of(ts).state(ts) },
		"unchanged": func(ts *testscript.TestScript, _ bool, _ []string) {
			if now := of(ts).state(ts); now != of(ts).remembered {
				ts.Fatalf("the host has changed: got\n%s\nwant\n%s", now, of(ts).remembered)
			}
		},
		"json": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(of(ts).wantJSON(args[0], args[1])) },
	}
}

// wantJSON checks the value at a path such as pools.0.name; len is a length.
func (m *machine) wantJSON(path, want string) error {
	raw := m.out.String()
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fmt.Errorf("the result is not valid JSON: %w\n%s", err, raw)
	}
	if decoder.More() {
		return errors.New("the result is more than one JSON object")
	}
	for key := range strings.SplitSeq(path, ".") {
		value = step(value, key)
	}
	if got := fmt.Sprint(value); got != want {
		return fmt.Errorf("%s is %s, want %s, in\n%s", path, got, want, raw)
	}
	return nil
}

func step(value any, key string) any {
	switch v := value.(type) {
	case map[string]any:
		if inner, ok := v[key]; ok {
			return inner
		}
		return "absent"
	case []any:
		if key == "len" {
			return len(v)
		}
		if i, err := strconv.Atoi(key); err == nil && i < len(v) {
			return v[i]
		}
	}
	return "absent"
}

func bytesOf(text string) int64 { return int64(must(units.Parse(text))) }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
