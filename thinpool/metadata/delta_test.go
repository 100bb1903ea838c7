package metadata

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thinctl/internal/testkit/need"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// naive compares all mappings of two devices.
func naive(left, right *modelNode, o DeltaOptions) []Difference {
	values := [2]map[uint64]uint64{{}, {}}
	left.entries(func(k, v uint64) { values[0][k] = v >> 24 })
	right.entries(func(k, v uint64) { values[1][k] = v >> 24 })
	return classify(values[0], values[1], o)
}

// classify compares two maps of virtual to data blocks.
func classify(left, right map[uint64]uint64, o DeltaOptions) []Difference {
	var keys []uint64
	for k := range left {
		keys = append(keys, k)
	}
	for k := range right {
		if _, both := left[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var all []Difference
	for _, k := range keys {
		l, inLeft := left[k]
		r, inRight := right[k]
		one := Difference{Kind: Different, Virtual: k, Blocks: 1, Left: l, Right: r}
		switch {
		case !inRight:
			one.Kind = LeftOnly
		case !inLeft:
			one.Kind = RightOnly
		case l == r:
			one.Kind = Same
		}
		if one.Kind == Same && !o.Same {
			continue
		}
		if n := len(all); n > 0 {
			last := &all[n-1]
			joins := last.Kind == one.Kind && last.Virtual+last.Blocks == k
			if o.Data {
				joins = joins && (!inLeft || last.Left+last.Blocks == l) && (!inRight || last.Right+last.Blocks == r)
			}
			if joins {
				last.Blocks++
				continue
			}
		}
		all = append(all, one)
	}
	return all
}

func deltaOf(r *countingImage, left, right uint32, o DeltaOptions) ([]Difference, error) {
	root, err := ReadSuperblock(r.reader())
	if err != nil {
		return nil, err
	}
	var all []Difference
	err = Delta(context.Background(), r, root, left, right, o, func(d Difference) error {
		all = append(all, d)
		return nil
	})
	return all, err
}

func mirror(all []Difference) []Difference {
	var mirrored []Difference
	for _, d := range all {
		d.Left, d.Right = d.Right, d.Left
		switch d.Kind {
		case LeftOnly:
			d.Kind = RightOnly
		case RightOnly:
			d.Kind = LeftOnly
		}
		mirrored = append(mirrored, d)
	}
	return mirrored
}

func TestDeltaComparesAllMappings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices := drawDevices(t)
		m := pool(devices)
		o := DeltaOptions{Same: rapid.Bool().Draw(t, "same"), Data: rapid.Bool().Draw(t, "data")}
		for l, left := range devices {
			for r, right := range devices {
				c := countReads(m)
				got, err := deltaOf(c, l, r, o)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(naive(left, right, o), got); diff != "" {
					t.Fatalf("devices %d and %d, %+v (-all mappings +got):\n%s", l, r, o, diff)
				}
				back, err := deltaOf(countReads(m), r, l, o)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(mirror(got), back); diff != "" {
					t.Fatalf("devices %d and %d, %+v: reversed delta (-want +got):\n%s", l, r, o, diff)
				}
				checkReads(t, c, left, right, o)
			}
		}
	})
}

// checkReads checks that Delta reads few nodes other than those that the two trees do not
// share. Beside each of these it may read one shared node, because the trees may be divided
// differently, and one node of each level to measure the height.
func checkReads(t *rapid.T, c *countingImage, left, right *modelNode, o DeltaOptions) {
	l, r := map[*modelNode]bool{}, map[*modelNode]bool{}
	left.nodes(l)
	right.nodes(r)
	apart, once := 0, map[*modelNode]bool{}
	for n := range l {
		once[n] = true
		if !r[n] {
			apart++
		}
	}
	for n := range r {
		if once[n] = true; !l[n] {
			apart++
		}
	}
	reads := 0
	for n := range once {
		times := int(c.blocks[n.block].Load())
		reads += times
		if times > 2 || (o.Same && times == 0) {
			t.Fatalf("got %[2]d reads of block %[1]d, want at most 2, with %+[3]v", n.block, times, o)
		}
	}
	if o.Same {
		if most := len(once) + left.height() + right.height(); reads > most {
			t.Fatalf("got %d reads, want at most %d", reads, most)
		}
		return
	}
	most := 2*apart + left.height() + right.height()
	if left == right {
		most = 0
	}
	if reads > most {
		t.Fatalf("got %d reads, want at most %d: %d nodes are not shared (heights %d and %d)", reads, most, apart,
			left.height(), right.height())
	}
}

// thinDelta returns the output of thin_delta without its header.
func thinDelta(t fataler, path string, left, right uint32, more ...string) string {
	t.Helper()
	out := tool(t, "thin_delta", append(more, "--thin1", fmt.Sprint(left), "--thin2", fmt.Sprint(right), path)...)
	_, body, _ := strings.Cut(out, "<diff ")
	_, body, _ = strings.Cut(body, "\n")
	body, _, _ = strings.Cut(body, "  </diff>")
	return body
}

// asThinDelta formats differences as thin_delta does, with data as in its verbose format.
func asThinDelta(all []Difference, data bool) string {
	var b strings.Builder
	for i, d := range all {
		if !data {
			fmt.Fprintf(&b, "    <%s begin=\"%d\" length=\"%d\"/>\n", d.Kind, d.Virtual, d.Blocks)
			continue
		}
		if i == 0 || all[i-1].Kind != d.Kind {
			fmt.Fprintf(&b, "    <%s>\n", d.Kind)
		}
		where := fmt.Sprintf("data_begin=\"%d\"", max(d.Left, d.Right))
		if d.Kind == Different {
			where = fmt.Sprintf("left_data_begin=\"%d\" right_data_begin=\"%d\"", d.Left, d.Right)
		}
		fmt.Fprintf(&b, "      <range begin=\"%d\" %s length=\"%d\"/>\n", d.Virtual, where, d.Blocks)
		if i == len(all)-1 || all[i+1].Kind != d.Kind {
			fmt.Fprintf(&b, "    </%s>\n", d.Kind)
		}
	}
	return b.String()
}

func TestDeltaAgreesWithThinDelta(t *testing.T) {
	need.Program(t, "thin_delta")
	path := filepath.Join(t.TempDir(), "meta")
	rapid.Check(t, func(t *rapid.T) {
		devices := drawDevices(t)
		m := pool(devices)
		if err := os.WriteFile(path, m.b, 0o600); err != nil {
			t.Fatal(err)
		}
		l := rapid.Uint32Range(1, uint32(len(devices))).Draw(t, "left")
		r := rapid.Uint32Range(1, uint32(len(devices))).Draw(t, "right")
		for _, data := range []bool{false, true} {
			got, err := deltaOf(countReads(m), l, r, DeltaOptions{Same: true, Data: data})
			if err != nil {
				t.Fatal(err)
			}
			flags := []string{"-m"}
			if data {
				flags = append(flags, "--verbose")
			}
			if diff := cmp.Diff(thinDelta(t, path, l, r, flags...), asThinDelta(got, data)); diff != "" {
				t.Fatalf("devices %d and %d (-thin_delta +got):\n%s", l, r, diff)
			}
		}
	})
}

func TestDeltaOfMissingDevice(t *testing.T) {
	m := pool(map[uint32]*modelNode{1: {}, 2: {}})
	for _, c := range []struct{ left, right, missing uint32 }{{1, 3, 3}, {3, 1, 3}, {0, 1, 0}, {1 << 31, 1, 1 << 31}} {
		_, err := deltaOf(countReads(m), c.left, c.right, DeltaOptions{})
		if !errors.Is(err, ErrNoDevice) || !strings.Contains(err.Error(), fmt.Sprintf("id %d", c.missing)) {
			t.Errorf("%+v: got %v, want ErrNoDevice with id %d", c, err, c.missing)
		}
	}
}

func TestDeltaStops(t *testing.T) {
	many := map[uint64]uint64{}
	for i := range uint64(500) {
		many[2*i] = i << 24
	}
	one := (&modelNode{}).change(changesOf(many))
	m := pool(map[uint32]*modelNode{1: one, 2: {}, 3: one})
	root, err := ReadSuperblock(m.reader())
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	for _, right := range []uint32{2, 3} {
		calls := 0
		err = Delta(context.Background(), m.reader(), root, 1, right, DeltaOptions{Same: true}, func(Difference) error {
			calls++
			return enough
		})
		if !errors.Is(err, enough) || calls != 1 {
			t.Errorf("error of visit: got %[2]v after %[1]d calls, want it after 1", calls, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		calls = 0
		err = Delta(ctx, m.reader(), root, 1, right, DeltaOptions{Same: true}, func(Difference) error {
			calls++
			cancel()
			return nil
		})
		if !errors.Is(err, context.Canceled) || calls > 400 {
			t.Errorf("canceled: got %[2]v after %[1]d calls, want context.Canceled", calls, err)
		}
	}
}

func changesOf(values map[uint64]uint64) []change {
	var all []change
	for k, v := range values {
		all = append(all, change{key: k, value: v})
	}
	slices.SortFunc(all, func(a, b change) int { return int(int64(a.key - b.key)) })
	return all
}
