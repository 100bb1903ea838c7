package metadata_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"thinctl/thinpool/metadata"
)

// Codes lists each constant once, and each has a meaning.
func TestCodes(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "finding_codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []metadata.Code
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, metadata.Code(text))
		}
		return true
	})
	listed := metadata.Codes()
	for _, code := range listed {
		if code.Meaning() == "" {
			t.Errorf("%s has no meaning", code)
		}
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if !slices.Equal(declared, listed) {
		t.Errorf("got codes %v, want the declared %v", listed, declared)
	}
	if meaning := metadata.Code("nonsense").Meaning(); meaning != "" {
		t.Errorf("got meaning %q of an unknown code, want none", meaning)
	}
}
