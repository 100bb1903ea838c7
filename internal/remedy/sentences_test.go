package remedy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"thinctl/internal/layers"
	"thinctl/thinpool"
	"thinctl/units"
)

// TestEachCureHasASentence reads the codes from the sources of the packages.
func TestEachCureHasASentence(t *testing.T) {
	for _, table := range []struct {
		source  string
		written []string
	}{
		{"../../thinpool/cure.go", keys(poolSentences)},
		{"../layers/cure.go", keys(layerSentences)},
	} {
		if declared := codes(t, table.source); !slices.Equal(declared, table.written) {
			t.Errorf("%s: got sentences for\n%q\nwant them for\n%q", table.source, table.written, declared)
		}
	}
}

func keys[C ~string](sentences map[C]string) []string {
	var all []string
	for code := range maps.Keys(sentences) {
		all = append(all, string(code))
	}
	slices.Sort(all)
	return all
}

// codes returns the constants of type CureCode in a file.
func codes(t *testing.T, name string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(file, func(node ast.Node) bool {
		spec, is := node.(*ast.ValueSpec)
		if !is {
			return true
		}
		if kind, is := spec.Type.(*ast.Ident); !is || kind.Name != "CureCode" {
			t.Errorf("%s: %s is no CureCode", name, spec.Names[0])
			return true
		}
		for _, value := range spec.Values {
			code, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			if err != nil {
				t.Error(err)
			}
			all = append(all, code)
		}
		return true
	})
	slices.Sort(all)
	return all
}

// TestSentencesAreFilled checks that all placeholders of a sentence are replaced.
func TestSentencesAreFilled(t *testing.T) {
	for code := range poolSentences {
		got := sentence(thinpool.Cure{Code: code, Pool: "vault", Path: "/dev/sda", Size: units.MiB})
		if strings.ContainsAny(got, "{}") {
			t.Errorf("%s: got %q", code, got)
		}
	}
	for code := range layerSentences {
		got := sentence(layers.Cure{Code: code, Pool: "vault", Container: "web", What: "layer", Size: units.GiB})
		if strings.ContainsAny(got, "{}") {
			t.Errorf("%s: got %q", code, got)
		}
	}
}

// TestSentences checks the sentences with more than the name of a pool.
func TestSentences(t *testing.T) {
	for _, test := range []struct {
		cure thinpool.Cure
		want string
	}{
		{thinpool.Cure{Code: thinpool.CureTruncate, Path: "/p/metadata", Size: 4 * units.MiB},
			"to use the pool without it, run `truncate --size 4194304 /p/metadata`: that data then reads as zeros"},
		{thinpool.Cure{Code: thinpool.CureAcceptCopy, Pool: "vault", Path: "/dev/sdd"},
			"to use /dev/sdd instead, run `thinctl pool activate vault --accept /dev/sdd`"},
		{thinpool.Cure{Code: thinpool.CureNameMetadata, Pool: "vault", Path: "/p"},
			"if the pool is on files, put it back; if it is on block devices, name that of the metadata: " +
				"thinctl pool repair vault --metadata-device PATH; " +
				"without it the contents of all volumes are lost, and only the files in /p are kept"},
	} {
		if got := sentence(test.cure); got != test.want {
			t.Errorf("%s: got %q, want %q", test.cure.Code, got, test.want)
		}
	}
	for _, test := range []struct {
		cure layers.Cure
		want string
	}{
		{layers.Cure{Code: layers.CureLargerOrXFS, Size: 128 * units.MiB, XFS: 300 * units.MiB},
			"use a larger volume with --size 128M or more, or --fs xfs --size 300M"},
		{layers.Cure{Code: layers.CureXFS}, "use --fs xfs"},
		{layers.Cure{Code: layers.CureUnmount, Pool: "vault", Container: "web"},
			"run `thinctl container unmount vault web`, or stop the process that reads it"},
	} {
		if got := sentence(test.cure); got != test.want {
			t.Errorf("%s: got %q, want %q", test.cure.Code, got, test.want)
		}
	}
}
