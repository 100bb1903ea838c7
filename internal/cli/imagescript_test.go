package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	registrytest "github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"thinctl/blockdev"
	"thinctl/internal/cli/command"
	"thinctl/internal/testkit/imagetest"
	"thinctl/internal/testkit/need"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/loopback"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// TestImageScripts runs testdata/images/*.txt. Their machine has real file trees
// on its volumes; hold and release take a container's volume. They have these further commands:
//
//	archive FILE KIND [docker|oci|gzip]   FILE becomes an archive: base, app, both, nameless or broken
//	forget POOL KIND     the documents of the kind are deleted from the database
//	capture NAME         $NAME is the output of the last command line
//	feed FILE            the next command line reads FILE from standard input
//	terminal             the next command line writes to a terminal
//	registry             there is a registry at $REGISTRY
func TestImageScripts(t *testing.T) {
	need.Root(t)
	var cliOnce sync.Mutex
	commands := scriptCommands(&cliOnce)
	for name, command := range imageCommands() {
		commands[name] = command
	}
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/images",
		Cmds: commands,
		Setup: func(env *testscript.Env) error {
			fixture := snapshotstest.New(t)
			fixture.Space = plentyOfSpace
			env.Setenv("THINCTL_ROOT", fixture.Root)
			env.Setenv("TMPDIR", env.WorkDir)
			if err := os.Mkdir(fixture.Root, 0o700); err != nil {
				return err
			}
			m := newMachine(env.WorkDir)
			m.host = &fakeHost{kernel: fixture.Kernel, loops: fixture.Loops, fixture: fixture}
			env.Values[machineKey{}] = m
			return nil
		},
	})
}

func imageCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"archive": func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Check(writeArchive(ts.MkAbs(args[0]), args[1], append(args[2:], "docker")[0]))
		},
		"feed": func(ts *testscript.TestScript, _ bool, args []string) {
			of(ts).fed = ts.ReadFile(args[0])
		},
		"forget": func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Check(forget(filepath.Join(ts.Getenv("THINCTL_ROOT"), args[0], "state.db"), store.Kind(args[1])))
		},
		"terminal": func(ts *testscript.TestScript, _ bool, _ []string) { of(ts).terminal = true },
		"capture": func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Setenv(args[0], strings.TrimSpace(of(ts).out.String()))
		},
		"registry": func(ts *testscript.TestScript, _ bool, _ []string) {
			server := httptest.NewServer(registrytest.New(registrytest.Logger(log.New(io.Discard, "", 0))))
			ts.Defer(server.Close)
			ts.Setenv("REGISTRY", strings.TrimPrefix(server.URL, "http://"))
		},
	}
}

// fixtureFiles are the file systems of a fixture, for the command line.
type fixtureFiles struct{ *snapshotstest.Files }

func (f fixtureFiles) MountPoint(_ context.Context, device blockdev.Number) (string, error) {
	points, err := f.Mounts(device)
	for _, point := range points {
		if !point.ReadOnly {
			return point.Path, err
		}
	}
	return "", err
}

var _ command.FileSystems = fixtureFiles{}

// scriptImages returns the images of the scripts. app has the layers of base and one more.
func scriptImages() (base, app imagetest.Image) {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	dir := func(path string) imagetest.Entry {
		return imagetest.Entry{Path: path, Type: '5', Mode: 0o755, Time: at}
	}
	file := func(path string, size int64, seed uint64) imagetest.Entry {
		return imagetest.Entry{Path: path, Type: '0', Mode: 0o644, Time: at, Content: imagetest.Content{Kind: imagetest.Random, Size: size, Seed: seed}}
	}
	base = imagetest.Image{
		Names: []string{"base:1"}, Author: "somebody <some@body.org>",
		Config: imagetest.Config{Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/bin"}},
		Layers: []imagetest.Layer{
			{CreatedBy: "/bin/sh -c #(nop) ADD file:5a1b in / ", Entries: []imagetest.Entry{dir("etc"), file("etc/passwd", 1000, 1), dir("srv"), file("srv/a", 300000, 2)}},
			{CreatedBy: "/bin/sh -c #(nop)  CMD [\"/bin/sh\"]", HistoryOnly: true},
			{CreatedBy: "/bin/sh -c echo a rather long command line \t that goes on and on > /srv/b", Entries: []imagetest.Entry{dir("srv"), file("srv/b", 200000, 3)}},
		},
	}
	app = base
	app.Names = []string{"app:1", "registry.example.org/team/app:1"}
	app.Layers = append(append([]imagetest.Layer{}, base.Layers...),
		imagetest.Layer{CreatedBy: "COPY app /srv", Entries: []imagetest.Entry{dir("srv"), file("srv/app", 100000, 4)}})
	return base, app
}

func writeArchive(path, kind, format string) (err error) {
	base, app := scriptImages()
	var all []*imagetest.Built
	switch kind {
	case "nameless":
		base.Names = nil
		fallthrough
	case "base", "broken":
		all = append(all, must(imagetest.Build(base)))
	case "app":
		all = append(all, must(imagetest.Build(app)))
	case "both":
		all = append(all, must(imagetest.Build(base)), must(imagetest.Build(app)))
	default:
		return fmt.Errorf("unknown kind of archive %q", kind)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	switch format {
	case "docker":
		err = imagetest.WriteDocker(file, all...)
	case "oci":
		err = imagetest.WriteOCI(file, imagetest.Gzip, all...)
	case "gzip":
		zip := gzip.NewWriter(file)
		err = errors.Join(imagetest.WriteDocker(zip, all...), zip.Close())
	}
	if err == nil && kind == "broken" {
		err = breakLayer(path, base.Layers[len(base.Layers)-1])
	}
	return err
}

// breakLayer damages the file of a layer in an archive.
func breakLayer(path string, layer imagetest.Layer) error {
	var tar bytes.Buffer
	if err := layer.WriteTar(&tar); err != nil {
		return err
	}
	all, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	middle := tar.Bytes()[tar.Len()/2:][:100]
	at := bytes.Index(all, middle)
	if at < 0 {
		return errors.New("the layer is not in the archive")
	}
	all[at] ^= 1
	return os.WriteFile(path, all, 0o600)
}

func plentyOfSpace() loopback.Space {
	return loopback.Space{Total: 100 * units.GiB, Free: 60 * units.GiB, Available: 50 * units.GiB}
}

func forget(path string, kind store.Kind) error {
	db := store.At(path)
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		var keys []string
		for entry, err := range store.Documents[json.RawMessage](tx, kind, "") {
			if err != nil {
				return err
			}
			keys = append(keys, entry.Key)
		}
		for _, key := range keys {
			if err := tx.DeleteDocument(kind, key); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, db.Close())
}
