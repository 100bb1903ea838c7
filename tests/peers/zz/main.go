package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/units"
)

func ck(err error) {
	if err != nil {
		panic(err)
	}
}

var acc = map[string][]time.Duration{}

func timed(name string, f func()) {
	b := time.Now()
	f()
	acc[name] = append(acc[name], time.Since(b))
}

type kern struct {
	dm.Kernel
	tag string
}

var began time.Time

func (k kern) Message(ctx context.Context, ref dm.Ref, text string) (s string, err error) {
	if k.tag == "ours" && text[0] == 0 {
		acc["ours update to message"] = append(acc["ours update to message"], time.Since(began))
	}
	timed(k.tag+" msg "+strings.Fields(text)[0], func() { s, err = k.Kernel.Message(ctx, ref, text) })
	return
}
func (k kern) Status(ctx context.Context, ref dm.Ref, o dm.StatusOptions) (i dm.Info, l []dm.Line, err error) {
	timed(k.tag+" status", func() { i, l, err = k.Kernel.Status(ctx, ref, o) })
	return
}
func (k kern) Remove(ctx context.Context, ref dm.Ref, o dm.RemoveOptions) (b bool, err error) {
	timed(k.tag+" remove", func() { b, err = k.Kernel.Remove(ctx, ref, o) })
	return
}
func (k kern) Resume(ctx context.Context, ref dm.Ref, o dm.ResumeOptions) (i dm.Info, err error) {
	timed(k.tag+" resume", func() { i, err = k.Kernel.Resume(ctx, ref, o) })
	return
}
func (k kern) Suspend(ctx context.Context, ref dm.Ref, o dm.SuspendOptions) (err error) {
	timed(k.tag+" suspend", func() { err = k.Kernel.Suspend(ctx, ref, o) })
	return
}


func (k kern) Create(ctx context.Context, n dm.Name, u dm.UUID) (i dm.Info, err error) {
	timed(k.tag+" create", func() { i, err = k.Kernel.Create(ctx, n, u) })
	return
}
func (k kern) Info(ctx context.Context, r dm.Ref) (i dm.Info, err error) {
	timed(k.tag+" info", func() { i, err = k.Kernel.Info(ctx, r) })
	return
}
func (k kern) Load(ctx context.Context, r dm.Ref, t []dm.Target, o dm.LoadOptions) (err error) {
	timed(k.tag+" load", func() { err = k.Kernel.Load(ctx, r, t, o) })
	return
}

func main() {
	ctx := context.Background()
	dir, _ := os.MkdirTemp("", "parts")
	kk, err := dm.Open(dm.Options{})
	ck(err)
	k := kern{kk, "ours"}
	fk := kern{kk, "floor"}
	host := thinpool.Host{Kernel: k, Loops: loopback.New(loopback.Options{}), Disks: thinpool.LocalDisks{}, BeforeStore: func(write bool) error {
		began = time.Now()
		return nil
	}}
	opts := thinpool.CreateOptions{DataSize: 4 * units.GiB, MetadataSize: 256 * units.MiB, BaseSize: units.GiB}
	p, err := thinpool.Create(ctx, host, dir, "x", opts)
	ck(err)
	py, err := thinpool.Create(ctx, host, dir, "y", opts)
	ck(err)
	_, err = p.CreateVolume(ctx, "origin", thinpool.VolumeOptions{})
	ck(err)
	_, err = p.ActivateVolume(ctx, "origin")
	ck(err)
	f, err := os.Create(filepath.Join(dir, "f"))
	ck(err)
	page := make([]byte, 4096)
	f.WriteAt(page, 0)
	f.Sync()
	ref := dm.ByName("thinctl-y")
	ck(func() error { _, err := kk.Message(ctx, ref, "create_thin 1"); return err }())
	st, err := py.Status(ctx)
	ck(err)
	up := func(k dm.Kernel, name string, id uint32) {
		_, err := k.Create(ctx, dm.Name(name), "")
		ck(err)
		ck(k.Load(ctx, dm.ByName(dm.Name(name)), []dm.Target{dm.Thin{Length: units.GiB.Sectors(), Pool: st.Dev, ID: id}}, dm.LoadOptions{}))
		_, err = k.Resume(ctx, dm.ByName(dm.Name(name)), dm.ResumeOptions{})
		ck(err)
	}
	up(kk, "yorigin", 1)
	tx := uint64(0)
	acc = map[string][]time.Duration{}
	for i := range 80 {
		id := uint32(100 + i)
		timed("= floor snap+act", func() {
			timed("floor fsync", func() { f.WriteAt(page, 0); ck(f.Sync()) })
			ck(fk.Suspend(ctx, dm.ByName("yorigin"), dm.SuspendOptions{}))
			_, err := fk.Message(ctx, ref, fmt.Sprintf("create_snap %d 1", id))
			ck(err)
			fk.Resume(ctx, dm.ByName("yorigin"), dm.ResumeOptions{})
			_, err = fk.Message(ctx, ref, fmt.Sprintf("set_transaction_id %d %d", tx, tx+1))
			ck(err)
			tx++
			timed("floor activate", func() { up(fk, "ysnap", id) })
		})
		timed("= ours snap+act", func() {
			_, err := p.Snapshot(ctx, "origin", "a", thinpool.SnapshotOptions{})
			ck(err)
			timed("ours activate", func() {
				_, err = p.ActivateVolume(ctx, "a")
				ck(err)
			})
		})
		timed("= floor remove", func() {
			timed("floor fsync", func() { f.WriteAt(page, 0); ck(f.Sync()) })
			_, err := fk.Remove(ctx, dm.ByName("ysnap"), dm.RemoveOptions{})
			ck(err)
			_, err = fk.Message(ctx, ref, fmt.Sprintf("delete %d", id))
			ck(err)
		})
		timed("= ours remove", func() { _, err := p.RemoveVolume(ctx, "a", thinpool.RemoveOptions{}); ck(err) })
	}
	for _, name := range slices.Sorted(func(y func(string) bool) {
		for k := range acc {
			if !y(k) {
				return
			}
		}
	}) {
		t := acc[name]
		slices.Sort(t)
		sum := time.Duration(0)
		for _, d := range t[:len(t)*9/10] {
			sum += d
		}
		fmt.Printf("%-32s n %4d median %8.3f p10 %8.3f trimmed mean %8.3f ms\n", name, len(t), t[len(t)/2].Seconds()*1e3, t[len(t)/10].Seconds()*1e3, sum.Seconds()*1e3/float64(len(t)*9/10))
	}
}
