package rendezvous_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/status-im/go-waku-rendezvous"

// A program that imports the library gets only the dependencies that the library needs.
func TestDependenciesOfTheLibrary(t *testing.T) {
	deps := goList(t, "-deps", ".")
	if !slices.Contains(deps, module) {
		t.Fatalf("go list does not list the library itself: %q", deps)
	}
	for _, dep := range deps {
		if unwanted(dep) {
			t.Errorf("importing %s brings in %s", module, dep)
		}
	}
}

// The go.mod of a program that imports the library names, beside the modules that
// go-libp2p brings, these. What only the command, the storage on Redis, the examples and
// the tests need stays out of it.
func TestModulesOfAnImporter(t *testing.T) {
	const modules = "{{with .Module}}{{.Path}}{{end}}"
	brought := goList(t, "-deps", "-f", modules, "github.com/libp2p/go-libp2p")
	var more []string
	for _, m := range goList(t, "-deps", "-f", modules, ".") {
		if m != "" && !slices.Contains(brought, m) && !slices.Contains(more, m) {
			more = append(more, m)
		}
	}
	slices.Sort(more)
	want := []string{
		"github.com/golang/snappy", // of goleveldb
		"github.com/hashicorp/golang-lru/v2",
		module,
		"github.com/syndtr/goleveldb",
		"github.com/tidwall/btree",
	}
	if !slices.Equal(more, want) {
		t.Errorf("an importer gets the modules %q, not %q", more, want)
	}
}

// Only tests, and packages made for tests, import testing.
func TestOnlyTestsImportTesting(t *testing.T) {
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		imports := strings.Fields(line)
		pkg, imports := imports[0], imports[1:]
		if strings.HasSuffix(pkg, "test") { // storagetest, as in httptest and iotest
			continue
		}
		if i := slices.IndexFunc(imports, isTesting); i >= 0 {
			t.Errorf("%s imports %s", pkg, imports[i])
		}
	}
}

// floors are the floors of the module. A package imports packages of its own floor or of
// lower ones.
var floors = []struct {
	floor int
	tree  string
}{
	{4, module + "/cmd"},
	{4, module + "/examples"},
	{3, module + "/redisstorage"},
	{3, module + "/storagetest"},
	{1, module + "/internal"},
	{0, module + "/pb"},
	{2, module},
}

// floorOf returns the floor of a package of the module, -1 for any other package.
func floorOf(pkg string) int {
	for _, f := range floors {
		if within(pkg, f.tree) {
			return f.floor
		}
	}
	return -1
}

// mayImport reports whether a package of the module may import another package. The
// packages under internal are for the root alone.
func mayImport(pkg, imported string) bool {
	if within(imported, module+"/internal") {
		return floorOf(pkg) == 1 || floorOf(pkg) == 2
	}
	return floorOf(imported) <= floorOf(pkg)
}

// Imports point downwards.
func TestImportsPointDown(t *testing.T) {
	seen := 0
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		imports := strings.Fields(line)
		for _, imported := range imports[1:] {
			if floorOf(imported) >= 0 {
				seen++
			}
			if !mayImport(imports[0], imported) {
				t.Errorf("%s imports %s", imports[0], imported)
			}
		}
	}
	if seen < 20 {
		t.Fatalf("only %d imports within the module were checked", seen)
	}
}

func TestMayImport(t *testing.T) {
	for _, row := range []struct {
		pkg, imported string
		may           bool
	}{
		{module, module + "/internal/wire", true},
		{module, module + "/pb", true},
		{module, module + "/redisstorage", false},
		{module, "fmt", true},
		{module + "/internal/points", module + "/internal/wire", true},
		{module + "/internal/points", module, false},
		{module + "/internal/wire", module + "/pb", true},
		{module + "/pb", module + "/internal/wire", false},
		{module + "/redisstorage", module, true},
		{module + "/redisstorage", module + "/internal/wire", false},
		{module + "/redisstorage", module + "/storagetest", true},
		{module + "/storagetest", module + "/cmd/rendezvous", false},
		{module + "/cmd/rendezvous", module + "/redisstorage", true},
		{module + "/cmd/rendezvous", module + "/cmd/internal/attack", true},
		{module + "/cmd/internal/bench", module + "/internal/registry", false},
	} {
		if may := mayImport(row.pkg, row.imported); may != row.may {
			t.Errorf("%s imports %s: %t", row.pkg, row.imported, may)
		}
	}
}

func TestUnwanted(t *testing.T) {
	for _, dep := range []string{
		"testing",
		"testing/synctest",
		"github.com/libp2p/go-libp2p-pubsub",
		"github.com/libp2p/go-libp2p-pubsub/pb",
		"github.com/redis/rueidis",
		"github.com/redis/rueidis/internal/cmds",
		"github.com/redis/go-redis/v9",
		"github.com/valkey-io/valkey-go",
		"github.com/urfave/cli/v3",
		"github.com/spf13/cobra",
		"github.com/spf13/pflag",
		"github.com/alecthomas/kong",
		module + "/cmd/rendezvous",
		module + "/examples/demo",
		module + "/redisstorage",
		module + "/storagetest",
	} {
		if !unwanted(dep) {
			t.Errorf("%s passes", dep)
		}
	}
	for _, dep := range []string{
		"flag",
		"internal/testlog",
		"github.com/libp2p/go-libp2p/core/discovery",
		"github.com/prometheus/client_golang/prometheus",
		module,
		module + "/pb",
		module + "/internal/anything",
	} {
		if unwanted(dep) {
			t.Errorf("%s does not pass", dep)
		}
	}
}

// unwanted reports whether the library must not depend on a package.
func unwanted(dep string) bool {
	if within(dep, module) {
		return dep != module && dep != module+"/pb" && !within(dep, module+"/internal")
	}
	return isTesting(dep) || slices.ContainsFunc([]string{
		"github.com/libp2p/go-libp2p-pubsub",
		// Redis
		"github.com/redis",
		"github.com/go-redis",
		"github.com/gomodule/redigo",
		"github.com/valkey-io",
		// Command lines
		"github.com/alecthomas",
		"github.com/jessevdk/go-flags",
		"github.com/peterbourgon/ff",
		"github.com/spf13",
		"github.com/urfave",
	}, func(tree string) bool { return within(dep, tree) })
}

func isTesting(pkg string) bool { return within(pkg, "testing") }

// within reports whether a package is the root of a tree of packages, or in it.
func within(pkg, tree string) bool {
	return pkg == tree || strings.HasPrefix(pkg, tree+"/")
}

// goList returns the lines of go list's output.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
