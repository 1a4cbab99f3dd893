package rendezvous_test

import (
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// No file of a package uses another in a circle, so that each can be read after those that it
// uses. A file uses the names that others declare. Methods and fields do not count, because to
// find them takes a type checker, and all dependencies compiled.
func TestNoCirclesBetweenFiles(t *testing.T) {
	seen := 0
	for _, line := range goList(t, "-f", `{{.Dir}}{{range .GoFiles}}|{{.}}{{end}}`, "./...") {
		files := strings.Split(line, "|")
		uses := usesOfFiles(t, files[0], files[1:])
		for _, used := range uses {
			seen += len(used)
		}
		if circle := inCircles(uses); len(circle) > 0 {
			t.Errorf("%s: files use each other in a circle: %q", files[0], circle)
		}
	}
	if seen < 300 {
		t.Fatalf("only %d uses of files were checked", seen)
	}
}

func TestInCircles(t *testing.T) {
	uses := map[string][]string{"above": {"a", "beside"}, "a": {"b"}, "b": {"c", "below"}, "c": {"a"}, "beside": {"below"}}
	if circle := inCircles(uses); !slices.Equal(circle, []string{"a", "b", "c"}) {
		t.Errorf("in a circle: %q", circle)
	}
}

// usesOfFiles returns for each file of a package those that declare what it uses.
func usesOfFiles(t *testing.T, dir string, files []string) map[string][]string {
	t.Helper()
	declaredIn, used := make(map[string]string), make(map[string][]string) // files and names
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for name := range f.Scope.Objects {
			declaredIn[name] = file
		}
		for _, name := range f.Unresolved { // in this file alone
			used[file] = append(used[file], name.Name)
		}
	}
	uses := make(map[string][]string)
	for file, names := range used {
		for _, name := range names {
			if other := declaredIn[name]; other != "" && !slices.Contains(uses[file], other) {
				uses[file] = append(uses[file], other)
			}
		}
	}
	return uses
}

// inCircles returns the files that are in a circle, or between two.
func inCircles(uses map[string][]string) []string {
	left := maps.Clone(uses)
	for before := -1; before != len(left); {
		before = len(left)
		maps.DeleteFunc(left, func(file string, used []string) bool {
			isLeft := func(f string) bool { return left[f] != nil }
			isUsed := func(f string) bool { return slices.Contains(left[f], file) }
			return !slices.ContainsFunc(used, isLeft) || !slices.ContainsFunc(slices.Collect(maps.Keys(left)), isUsed)
		})
	}
	return slices.Sorted(maps.Keys(left))
}
