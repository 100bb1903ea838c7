//go:build kernel

package dm_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"thinctl/dm"
	"thinctl/units"
)

const disk8 = 8 * units.MiB

// device creates a device and removes it at the end of the test.
func (r *loopFixture) device(name dm.Name, uuid dm.UUID, table ...dm.Target) dm.Info {
	r.Helper()
	info, err := r.kernel.Create(r.Context(), name, uuid)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if _, err := r.kernel.Remove(context.Background(), dm.ByDev(info.Dev), dm.RemoveOptions{}); err != nil {
			r.Error(err)
		}
	})
	if len(table) == 0 {
		return info
	}
	if err := r.kernel.Load(r.Context(), dm.ByName(name), table, dm.LoadOptions{}); err != nil {
		r.Fatal(err)
	}
	if info, err = r.kernel.Resume(r.Context(), dm.ByName(name), dm.ResumeOptions{}); err != nil {
		r.Fatal(err)
	}
	return info
}

func (r *loopFixture) dmsetup(args ...string) string {
	r.Helper()
	out, err := exec.Command("dmsetup", args...).CombinedOutput()
	if err != nil {
		r.Fatalf("dmsetup %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// printed runs `dmsetup table` or `dmsetup status` once for all devices.
func (r *loopFixture) printed(command ...string) map[dm.Name][]string {
	r.Helper()
	lines := map[dm.Name][]string{}
	for line := range strings.Lines(r.dmsetup(command...)) {
		name, rest, _ := strings.Cut(line, ": ")
		lines[dm.Name(name)] = append(lines[dm.Name(name)], strings.TrimRight(rest, " \n"))
	}
	return lines
}

// agree compares the loaded tables with the ones that package dm and dmsetup read.
func (r *loopFixture) agree(loaded map[dm.Name][]dm.Target) {
	r.Helper()
	tables := r.printed("table")
	for name, table := range loaded {
		read, err := r.kernel.Table(r.Context(), dm.ByName(name))
		if err != nil {
			r.Fatal(err)
		}
		if len(tables[name]) != len(table) || len(read) != len(table) {
			r.Fatalf("%s: table: got %v, and %q from dmsetup, want %d lines", name, read, tables[name], len(table))
		}
		for i, target := range table {
			if wrote, printed := target.Line().String(), tables[name][i]; wrote != printed || read[i].String() != printed {
				r.Errorf("%s: table: got %q, and %q from dmsetup, want %q", name, read[i], printed, wrote)
			}
		}
	}
	states, printed := r.sameMoment(loaded)
	for name, status := range states {
		if len(status) != len(printed[name]) {
			r.Fatalf("%s: status: got %v, want that of dmsetup, %q", name, status, printed[name])
		}
		for i, line := range status {
			if again, printed := r.parsed(line).String(), printed[name][i]; line.String() != printed || again != printed {
				r.Errorf("%s: status: got %q, and %q after parsing, want that of dmsetup, %q", name, line, again, printed)
			}
		}
	}
}

// sameMoment returns the status of all devices from package dm and from dmsetup, between
// two commits. A pool commits within a second of a write, and then uses other metadata
// blocks.
func (r *loopFixture) sameMoment(loaded map[dm.Name][]dm.Target) (map[dm.Name][]dm.Line, map[dm.Name][]string) {
	r.Helper()
	read := func() map[dm.Name][]dm.Line {
		states := map[dm.Name][]dm.Line{}
		for name := range loaded {
			_, status, err := r.kernel.Status(r.Context(), dm.ByName(name), dm.StatusOptions{NoFlush: true})
			if err != nil {
				r.Fatal(err)
			}
			states[name] = status
		}
		return states
	}
	for range 100 {
		before, printed := read(), r.printed("status", "--noflush")
		if after := read(); reflect.DeepEqual(before, after) {
			return after, printed
		}
	}
	r.Fatal("the status of the devices changes all the time")
	return nil, nil
}

// parsed parses a status and prints it again.
func (r *loopFixture) parsed(line dm.Line) dm.Line {
	r.Helper()
	var err error
	switch line.Type {
	case dm.TypeThinPool:
		var s dm.PoolStatus
		s, err = dm.ParsePoolStatus(line)
		line = s.Line(line.Length)
	case dm.TypeThin:
		var s dm.ThinStatus
		s, err = dm.ParseThinStatus(line)
		line = s.Line(line.Length)
	}
	if err != nil {
		r.Fatal(err)
	}
	return line
}

func TestDmsetupReadsTheSame(t *testing.T) {
	r := newLoopFixture(t)
	one, two := r.Disk(disk8), r.Disk(disk8)
	mib := units.MiB.Sectors()
	loaded := map[dm.Name][]dm.Target{
		"kt-linear": {
			dm.Linear{Length: mib, Dev: one, Offset: 16}, dm.Linear{Start: mib, Length: mib, Dev: two},
			dm.ErrorTarget{Start: 2 * mib, Length: 8},
		},
		"kt-drop": {dm.Flakey{Length: mib, Dev: one, Offset: 8, Up: 1, Down: 2, DropWrites: true}},
		"kt-errw": {dm.Flakey{Length: mib, Dev: one, Up: 60, Down: 1, ErrorWrites: true}},
	}
	for name, table := range loaded {
		r.device(name, dm.UUID("KT-"+name), table...)
	}
	pools := map[dm.Name]func(*dm.ThinPool){
		"kt-pool":  func(p *dm.ThinPool) {},
		"kt-error": func(p *dm.ThinPool) { p.ErrorIfNoSpace, p.SkipBlockZeroing, p.LowWater = true, true, 3 },
		"kt-keep":  func(p *dm.ThinPool) { p.IgnoreDiscard, p.NoDiscardPassdown, p.Block = true, true, 3*128 },
	}
	for name, change := range pools {
		pool := dm.ThinPool{Length: 6 * mib, Metadata: r.Disk(disk8), Data: r.Disk(disk8), Block: 128}
		change(&pool)
		made := r.device(name, dm.UUID("KT-"+name), pool)
		for _, message := range []string{"create_thin 0", "create_thin 16777215"} {
			if _, err := r.kernel.Message(t.Context(), dm.ByName(name), message); err != nil {
				t.Fatal(err)
			}
		}
		first := dm.Thin{Length: mib, Pool: made.Dev, ID: 0, ExternalOrigin: two}
		last := dm.Thin{Length: mib, Pool: made.Dev, ID: dm.MaxThinID}
		r.device(name+"-first", dm.UUID("KT-"+name+"-first"), first)
		dev := r.device(name+"-last", dm.UUID("KT-"+name+"-last"), last).Dev
		loaded[name], loaded[name+"-first"], loaded[name+"-last"] = []dm.Target{pool}, []dm.Target{first}, []dm.Target{last}
		if err := r.Write(dev, 256*units.KiB, 64*units.KiB); err != nil {
			t.Fatal(err)
		}
		if name == "kt-error" {
			if _, err := r.kernel.Message(t.Context(), dm.ByName(name), "reserve_metadata_snap"); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.agree(loaded)
}

// libdevmapper and package dm mangle names in the same way.
func TestDmsetupShowsTheSameNames(t *testing.T) {
	r := newLoopFixture(t)
	// None of the names contains \x: libdevmapper's auto mode rejects a name that is mangled
	// twice.
	ours := []dm.Name{"kt plain words", "kt-größe", `kt"quoted' \back`, "kt#+:=@_.x" + dm.Name(strings.Repeat("n", 117))}
	for i, name := range ours {
		dev := r.device(name, dm.UUID(fmt.Sprintf("KT näme %d", i)), dm.ErrorTarget{Length: 8}).Dev
		shown := strings.TrimSpace(r.dmsetup("info", "-c", "--noheadings", "--separator", "|",
			"-o", "mangled_name,unmangled_name",
			"-j", fmt.Sprint(dev.Major), "-m", fmt.Sprint(dev.Minor)))
		if want := filepath.Base(name.Node()) + "|" + string(name); shown != want {
			t.Errorf("%q in dmsetup: got %q, want %q", name, shown, want)
		}
		if out := r.dmsetup("mangle", filepath.Base(name.Node())); !strings.Contains(out, "already") {
			t.Errorf("dmsetup mangle of %q: got %s, want it mangled already", name, out)
		}
	}
	listed := r.dmsetup("ls")
	for _, name := range ours {
		if !strings.Contains(listed, string(name)+"\t") {
			t.Errorf("dmsetup ls: got %s, want %q in it", listed, name)
		}
	}
	theirs := dm.Name("kt their's & größe")
	r.dmsetup("create", string(theirs), "--notable", "-u", "KT their uuid")
	defer r.dmsetup("remove", string(theirs))
	info, err := r.kernel.Info(t.Context(), dm.ByUUID("KT their uuid"))
	if err != nil || info.Name != theirs {
		t.Errorf("name of dmsetup's device: got %q, %v, want %q", info.Name, err, theirs)
	}
	if info, err = r.kernel.Info(t.Context(), dm.ByName(theirs)); err != nil || info.UUID != "KT their uuid" {
		t.Errorf("uuid of dmsetup's device: got %+v, %v, want KT their uuid", info, err)
	}
}
