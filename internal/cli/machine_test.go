package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/doctor"
	"thinctl/internal/testkit/dmtest"
	"thinctl/loopback"
	"thinctl/snapshots/filesystem"
	"thinctl/snapshots/filesystem/program"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/units"
)

type machineKey struct{}

// machine is the host of one script, and the result of its last command line.
type machine struct {
	host  *fakeHost
	files *fakeFiles

	probe      doctor.Probe
	uid        int
	answer     string
	code       int
	out        bytes.Buffer
	refused    error // the error of opening the host
	remembered string
	fed        string
	terminal   bool
	leave      func() // ends what hold began in a fixture
}

func newMachine(dir string) *machine {
	m := &machine{}
	m.use(newFakeHost(dmtest.Options{}))
	m.probe = doctor.Probe{
		Root: filepath.Join(dir, "host"), Now: func() time.Time { return time.Unix(100000, 0) },
		Cookies: func() ([]dm.Cookie, error) { return nil, nil },
		Find:    func(p program.Program) (string, error) { return "/usr/sbin/" + p.Name, nil },
		Space:   func(path string) (loopback.Space, error) { return m.host.disks.Space(path) },
	}
	return m
}

func (m *machine) fileSystems() command.FileSystems {
	if m.host.fixture != nil {
		return fixtureFiles{m.host.fixture.Files}
	}
	return m.files
}

func (m *machine) use(host *fakeHost) {
	m.host, m.files = host, newFakeFiles(host.kernel)
	host.files = m.files
}

func of(ts *testscript.TestScript) *machine { return ts.Value(machineKey{}).(*machine) }

func (m *machine) thinctl(ts *testscript.TestScript, neg bool, args []string, one *sync.Mutex) {
	m.out.Reset()
	a := &command.Environment{
		In: strings.NewReader(m.answer + m.fed), ColorOn: m.terminal, Out: io.MultiWriter(&m.out, ts.Stdout()), Err: ts.Stderr(),
		Getenv: ts.Getenv, EUID: func() int { return m.uid }, Keyboard: m.answer != "", Dialog: m.answer != "",
		Files: m.fileSystems(), Probe: m.probe, Metadata: m.metadata(),
		OpenHost: func(logger *slog.Logger) (thinpool.Host, io.Closer, error) {
			if m.refused != nil {
				return thinpool.Host{}, nil, m.refused
			}
			return m.host.open(logger)
		},
	}
	m.answer, m.fed, m.terminal = "", "", false
	one.Lock()
	defer one.Unlock()
	// urfave/cli reads the environment of the process, which parallel scripts share.
	m.code = run(context.Background(), a, append([]string{"--root=" + ts.Getenv("THINCTL_ROOT")}, args...))
	if (m.code != 0) != neg {
		ts.Fatalf("thinctl %s: exit code %d", strings.Join(args, " "), m.code)
	}
}

func (m *machine) setKernel(state string) error {
	m.refused = nil
	switch state {
	case "none":
		m.refused = &dm.Error{Op: "open", Object: "/dev/mapper/control", Kind: dm.ErrNoDeviceMapper}
	case "denied":
		m.refused = &dm.Error{Op: "open", Object: "/dev/mapper/control", Kind: fault.Denied, Detail: "the device mapper needs root"}
	case "no-thin":
		m.use(newFakeHost(dmtest.Options{TargetVersions: map[string]dm.Version{dm.TypeThinPool: {}, dm.TypeThin: {}}}))
	case "rhel7":
		m.use(newFakeHost(dmtest.Options{Protocol: dm.Version{4, 27, 0}, TargetVersions: map[string]dm.Version{dm.TypeThinPool: {1, 9, 0}, dm.TypeThin: {1, 9, 0}}}))
	default:
		return fmt.Errorf("unknown kernel %q", state)
	}
	return nil
}

func (m *machine) addDevice(ts *testscript.TestScript, args []string) error {
	path := ts.MkAbs(args[0])
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(path, bytesOf(args[1])); err != nil {
		return err
	}
	if len(args) > 2 && args[2] == "ext4" {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = file.WriteAt([]byte{0x53, 0xef}, 1080)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return m.host.disks.add(path, len(args) > 2 && args[2] == "busy")
}

func (m *machine) device(address string) (dm.Info, error) {
	name := "thinctl-" + strings.Replace(address, "/", "-", 1)
	return m.host.kernel.Info(context.Background(), dm.ByName(dm.Name(name)))
}

func (m *machine) hold(volume string) error {
	info, err := m.device(volume)
	if err != nil {
		return err
	}
	if m.host.fixture != nil {
		m.leave, err = m.host.fixture.Files.MountElsewhere(info.Dev, filesystem.Holder{Namespace: 4026532000, MountPoints: []string{"/var/www"},
			Processes: []filesystem.Process{{PID: 4711, Command: "nginx"}}})
		return err
	}
	m.files.foreign[info.Dev], err = m.host.kernel.Hold(info.Dev)
	return err
}

func (m *machine) release(volume string) error {
	if m.leave != nil {
		m.leave()
		m.leave = nil
		return nil
	}
	info, err := m.device(volume)
	if err == nil {
		m.files.foreign[info.Dev]()
		delete(m.files.foreign, info.Dev)
	}
	return err
}

func (m *machine) write(volume, length string) error {
	info, err := m.device(volume)
	if err != nil {
		return err
	}
	return m.host.kernel.Write(info.Dev, 0, units.Bytes(bytesOf(length)))
}

func (m *machine) fail(text string) {
	m.files.failing = nil
	if text != "" {
		m.files.failing = errors.New(text)
	}
}

func (m *machine) failMetadata(pool string) error {
	info, err := m.device(pool)
	if err == nil {
		err = m.host.kernel.FailMetadata(info.Dev)
	}
	return err
}

func (m *machine) message(pool, text string) error {
	info, err := m.device(pool)
	if err == nil {
		_, err = m.host.kernel.Message(context.Background(), dm.ByDev(info.Dev), text)
	}
	return err
}

func (m *machine) suspend(pool string) error {
	info, err := m.device(pool)
	if err == nil {
		err = m.host.kernel.Suspend(context.Background(), dm.ByDev(info.Dev), dm.SuspendOptions{})
	}
	return err
}

// databaseText returns the contents of a database, independent of the layout of its file.
func databaseText(path string) (string, error) {
	var b strings.Builder
	add := func(record any, err error) error {
		fmt.Fprintf(&b, " %+v", record)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		return err
	}
	db := store.At(path)
	err := db.View(context.Background(), func(tx *store.Tx) error {
		pool, noPool := tx.Pool()
		last, noLast := tx.LastTx()
		pending, noPending := tx.Pending()
		reading, noReading := tx.Reading()
		faults := []error{add(pool, noPool), add(last, noLast), add(pending, noPending), add(reading, noReading)}
		for volume, err := range tx.Volumes() {
			faults = append(faults, add(volume, err))
		}
		for tombstone, err := range tx.Tombstones() {
			faults = append(faults, add(tombstone, err))
		}
		for _, kind := range []store.Kind{"layers", "containers", "container-names", "inits", "templates", "work", "chains", "images", "image-names", "image-ids"} {
			for entry, err := range store.Documents[json.RawMessage](tx, kind, "") {
				faults = append(faults, add(string(entry.Record), err))
			}
		}
		return errors.Join(faults...)
	})
	return b.String(), errors.Join(err, db.Close())
}

// state describes everything that commands may change, without lock files and access times.
func (m *machine) state(ts *testscript.TestScript) string {
	var b strings.Builder
	root := ts.Getenv("THINCTL_ROOT")
	_ = filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(path, "lock") {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		fmt.Fprintf(&b, "%s %s %d", path, info.Mode(), info.Size())
		if strings.HasSuffix(path, "state.db") {
			fmt.Fprintf(&b, " %s", must(databaseText(path)))
		}
		b.WriteString("\n")
		return nil
	})
	for _, loop := range m.host.loops.Attached() {
		fmt.Fprintln(&b, loop.Path, loop.Backing)
	}
	entries, _ := m.host.kernel.List(context.Background())
	for _, entry := range entries {
		info, lines, _ := m.host.kernel.Status(context.Background(), dm.ByDev(entry.Dev), dm.StatusOptions{NoFlush: true})
		fmt.Fprintln(&b, info, lines)
	}
	return b.String()
}
