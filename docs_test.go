package rendezvous

// The documents agree with the code, and their commands work.

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadmeSnippets: the Go code in the README is part of example_test.go, which is
// compiled and run.
func TestReadmeSnippets(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	examples, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	snippets := fenced(string(readme), "go")
	require.Len(t, snippets, 2)
	for _, snippet := range snippets {
		require.Contains(t, unindent(string(examples)), unindent(snippet))
	}
}

// TestMigratingSnippets: the code in docs/migrating.md is part of example_migrating_test.go.
func TestMigratingSnippets(t *testing.T) {
	text, err := os.ReadFile("docs/migrating.md")
	require.NoError(t, err)
	examples, err := os.ReadFile("example_migrating_test.go")
	require.NoError(t, err)
	snippets := fenced(string(text), "go")
	require.Len(t, snippets, 2)
	for _, snippet := range snippets {
		require.Contains(t, unindent(string(examples)), unindent(snippet))
	}
}

// TestProtocolExample: the frames in docs/protocol.md are in the test vectors, which
// another implementation made.
func TestProtocolExample(t *testing.T) {
	text, err := os.ReadFile("docs/protocol.md")
	require.NoError(t, err)
	frames := make(map[string]string)
	for _, v := range readVectors(t) {
		frames[v.Frame] = v.Name
	}
	octets := regexp.MustCompile(`^ *([0-9a-f]{2}(?: [0-9a-f]{2})*)(?:  |\n)`)
	examples := fenced(string(text), "")
	require.Len(t, examples, 3)
	for _, example := range examples {
		var frame strings.Builder
		for line := range strings.Lines(example) {
			if found := octets.FindStringSubmatch(line); found != nil {
				frame.WriteString(strings.ReplaceAll(found[1], " ", ""))
			}
		}
		require.NotEmpty(t, frames[frame.String()], "no such frame: %s", frame.String())
	}
}

// TestLinks: links within the repository lead to a file, and to a heading in it.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)]*))?\)`)
	links := 0
	for document, text := range documents(t) {
		for _, found := range link.FindAllStringSubmatch(outsideOfFences(text), -1) {
			if strings.Contains(found[1], "://") {
				continue // tests have no network
			}
			links++
			target := document
			if found[1] != "" {
				target = filepath.Join(filepath.Dir(document), found[1])
			}
			_, err := os.Stat(target)
			require.NoError(t, err, "%s links to %s", document, found[1])
			if found[2] != "" {
				require.Contains(t, anchors(t, target), found[2], "%s links to %s", document, found[0])
			}
		}
	}
	require.Greater(t, links, 10)
}

// anchors returns the anchors of a document's headings, as GitHub makes them.
func anchors(t *testing.T, document string) []string {
	t.Helper()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	var found []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(outsideOfFences(string(text)), -1) {
		kept := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		found = append(found, strings.ReplaceAll(kept, " ", "-"))
	}
	return found
}

// documents returns the texts of all documents by their paths.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		paths, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, p := range paths {
			text, err := os.ReadFile(p)
			require.NoError(t, err)
			texts[p] = string(text)
		}
	}
	require.Greater(t, len(texts), 10)
	return texts
}

// guide is the document whose sh blocks TestGuideCommands in cmd/rendezvous runs.
const guide = "docs/operating.md"

// run runs a command of a document, or a shorter form of it, or checks that something else
// runs it. tree is a copy of this repository to run it in.
type run func(t *testing.T, tree, command string)

// runs has every command in the documents except those of the program rendezvous, which
// TestCommands in cmd/rendezvous runs.
var runs = map[string]run{
	"make":                               listsTargets,
	"make build":                         whole,
	"make demo":                          stageOfCI,
	"make test":                          stageOfCI,
	"make lint":                          stageOfCI,
	"make fuzz":                          stageOfCI,
	"make fmt":                           withToolOf("lint-code", "golangci-lint"),
	"make generate":                      withToolOf("lint-generated", ".ci/check-generated"),
	"make test TESTFLAGS='-run Name -v'": expandsTo("go test -race .* -run Name -v ./..."),

	"make attack":       stageOfCI,
	"make attack-redis": stageOfCI,
	"make soak":         stageOfCI,
	"make wild":         stageOfCI,

	"make interop": stageOfCI,

	"make wild WILDFLAGS=-short":               stageOfCI,
	"make wild WILDFLAGS='-short -run nat -v'": expandsTo(".* bin/wild -short -run nat -v"),

	"make profile":       stageOfCI,
	"make bench-storage": recipe("go run ", "-n 1000 -costs"),
	"make bench-redis":   stageOfCI,
	"make bench":         testIn(".", "TestBenchCommands"),

	"make bench BENCHFLAGS=-quick":                                   testIn(".", "TestBenchCommands"),
	`make bench BENCHFLAGS='-only "REGISTER again, TCP" -rounds 15'`: testIn(".", "TestBenchCommands"),
	"make bench BENCHFLAGS='-rounds 7 -docs docs'":                   testIn(".", "TestBenchCommands"),

	"make simulate":                                   stageOfCI,
	"make simulate TESTFLAGS=-v":                      expandsTo("go test -run '\\^TestSimulation' .* -v ."),
	"go test -run TestChurn -v .":                     hasTests,
	"go test -run xxx -bench Refresh .":               hasBenchmarks,
	"go run":                                          testIn("examples", "TestExamples"),
	"go get " + module:                                inNewModule,
	"go install " + module + "/cmd/rendezvous@latest": inNewModule,

	// CI has no Docker. The test reads the file and starts its points as processes.
	"docker compose up":                  testIn("cmd/rendezvous", "TestCompose"),
	"docker compose --profile shared up": testIn("cmd/rendezvous", "TestCompose"),

	"install -m 755 bin/rendezvous /usr/local/bin/":                    testIn("cmd/rendezvous", "TestSystemdCommands"),
	"install -m 644 packaging/rendezvous.yml /etc/":                    testIn("cmd/rendezvous", "TestSystemdCommands"),
	"install -m 644 packaging/rendezvous.service /etc/systemd/system/": testIn("cmd/rendezvous", "TestSystemdCommands"),
	"systemctl daemon-reload":                                          testIn("cmd/rendezvous", "TestSystemdCommands"),
	"systemctl enable --now rendezvous":                                testIn("cmd/rendezvous", "TestSystemdCommands"),
	"journalctl -u rendezvous -f":                                      testIn("cmd/rendezvous", "TestSystemdCommands"),
	"kill -9":                                                          testIn(".", "TestAcknowledgedSurvivesKill"),
}

const module = "github.com/status-im/go-waku-rendezvous"

// TestCommands: the commands in the documents work.
func TestCommands(t *testing.T) { //nolint:tparallel // the commands share a tree
	t.Parallel() // with TestBenchCommands only; other tests could become too slow beside it
	tree := copyTree(t)
	documented := make(map[string]bool)
	for document, text := range documents(t) {
		for _, command := range commands(t, document, text) {
			documented[command] = true
			if strings.HasPrefix(command, "rendezvous ") {
				testIn("cmd/rendezvous", "TestCommands")(t, tree, command)
				continue
			}
			assert.NotNil(t, runs[command], "%s: %s: nothing runs this command; add it to runs in docs_test.go", document, command)
		}
	}
	for _, command := range slices.Sorted(maps.Keys(runs)) {
		t.Run(command, func(t *testing.T) {
			require.True(t, documented[command], "no document has this command; remove it from runs in docs_test.go")
			runs[command](t, tree, command)
		})
	}
}

// programs are the first words of commands.
var programs = []string{"make", "go", "rendezvous", "docker", "kill", "curl", "systemctl", "git", "sudo"}

// commands returns the commands in a document, except those that TestGuideCommands runs.
func commands(t *testing.T, document, text string) []string {
	t.Helper()
	found := indented(text)
	for _, language := range languages(text) {
		for _, block := range fenced(text, language) {
			switch {
			case language == "text", language == "sh" && document != guide:
				found = append(found, lines(block)...)
			case language == "":
				require.NotRegexp(t, `(?m)^(`+strings.Join(programs, "|")+`) `, block, "%s: commands belong in blocks marked sh or text", document)
			default:
				require.True(t, language == "sh" || language == "go" && (document == "README.md" || document == "docs/migrating.md"),
					"%s: no test checks blocks marked %s here", document, language)
			}
		}
	}
	for _, code := range inline(text) {
		if first, more, _ := strings.Cut(code, " "); slices.Contains(programs, first) && (more != "" || first == "make") {
			found = append(found, code)
		}
	}
	return found
}

// indented returns the commands in indented blocks.
func indented(text string) []string {
	var found []string
	for line := range strings.Lines(outsideOfFences(text)) {
		if code, is := strings.CutPrefix(line, "    "); is {
			found = append(found, lines(code)...)
		}
	}
	return found
}

// lines returns the commands in a block, without comments.
func lines(block string) []string {
	var found []string
	comment := regexp.MustCompile(`\s+# .*`)
	for line := range strings.Lines(regexp.MustCompile(`\\\n\s*`).ReplaceAllString(block, "")) {
		if line = strings.TrimSpace(comment.ReplaceAllString(line, "")); line != "" {
			found = append(found, line)
		}
	}
	return found
}

// inline returns the code spans of a text.
func inline(text string) []string {
	text = regexp.MustCompile(`(?m)^    .*`).ReplaceAllString(outsideOfFences(text), "")
	var found []string
	for _, code := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		found = append(found, strings.Join(strings.Fields(code[1]), " "))
	}
	return found
}

var fence = regexp.MustCompile("(?s)\n```(\\w*)\n.*?\n```")

func outsideOfFences(text string) string { return fence.ReplaceAllString(text, "") }

// languages returns the languages of a text's fenced blocks.
func languages(text string) []string {
	var found []string
	for _, block := range fence.FindAllStringSubmatch(text, -1) {
		found = append(found, block[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// copyTree copies the repository without .git and what the targets of make leave in it.
func copyTree(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	shell(t, ".", "tar --exclude=./.git --exclude=./bin --exclude=./interop/node_modules -cf - . | tar -xf - -C "+tree)
	return tree
}

// shell runs a command with empty standard input and returns its output. It builds
// without cgo, as the tests in cmd/rendezvous do, so that they share the build cache.
func shell(t *testing.T, dir, command string, env ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", command)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), append(env, "CGO_ENABLED=0", "MAKEFLAGS=", "MAKELEVEL=0")...) // as if it were not run by make test
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", command, out)
	return string(out)
}

// whole runs a command as it is.
func whole(t *testing.T, tree, command string) {
	t.Helper()
	shell(t, tree, command)
}

// listsTargets runs make without a target: it must list every target in the documents.
func listsTargets(t *testing.T, tree, command string) {
	t.Helper()
	list := shell(t, tree, command)
	for document, text := range documents(t) {
		for _, named := range commands(t, document, text) {
			if words := strings.Fields(named); words[0] == "make" && len(words) > 1 {
				require.Regexp(t, `(?m)^  make `+words[1]+` `, list)
			}
		}
	}
}

// stageOfCI checks that .ci/run runs the command, possibly with settings that make it
// shorter.
func stageOfCI(t *testing.T, tree, command string) {
	t.Helper()
	script, err := os.ReadFile(filepath.Join(tree, ".ci", "run"))
	require.NoError(t, err)
	require.Regexp(t, `(?m)^stage [\w-]+ \w+ `+command+`( [A-Z]+=([-\w]+|"[^"]*"))*$`, string(script))
}

// withToolOf checks that the command uses the same tool as a part of make lint, which CI
// runs. The command itself would write into the tree that CI checks.
func withToolOf(part, tool string) run {
	return func(t *testing.T, tree, command string) {
		t.Helper()
		stageOfCI(t, tree, "make lint")
		require.Contains(t, shell(t, tree, "make -n lint"), tool)
		checks := shell(t, tree, "make -n "+part)
		if script, err := os.ReadFile(filepath.Join(tree, tool)); err == nil {
			checks += strings.ReplaceAll(string(script), `-C "$tmp/generated" `, "")
		}
		does := strings.TrimSuffix(strings.TrimSpace(shell(t, tree, "make -n "+command[len("make "):])), " fmt")
		require.Contains(t, checks, does)
	}
}

// expandsTo checks what the command would run. Running it takes too long, and CI runs it
// with other settings.
func expandsTo(pattern string) run {
	return func(t *testing.T, tree, command string) {
		t.Helper()
		require.Regexp(t, `(?m)^`+pattern+`$`, shell(t, tree, "make -n "+command[len("make "):]))
	}
}

// recipe runs the recipe of a target up to the line that starts a program, with
// additional flags that make the program fast.
func recipe(program, flags string) run {
	return func(t *testing.T, tree, command string) {
		t.Helper()
		var script strings.Builder
		for line := range strings.Lines(shell(t, tree, "make -n "+command[len("make "):])) {
			if strings.HasPrefix(line, program) {
				shell(t, tree, script.String()+strings.TrimSpace(line)+" "+flags)
				return
			}
			script.WriteString(line)
		}
		require.Fail(t, "make does not run "+program, script.String())
	}
}

// testIn checks that there is a test with this name, which runs the command.
func testIn(dir, name string) run {
	return func(t *testing.T, tree, command string) {
		t.Helper()
		paths, err := filepath.Glob(filepath.Join(tree, dir, "*_test.go"))
		require.NoError(t, err)
		for _, p := range paths {
			text, err := os.ReadFile(p)
			require.NoError(t, err)
			if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T) {") {
				return
			}
		}
		require.Fail(t, "there is no "+name+" in "+dir, "it should run %s", command)
	}
}

// thisTest runs the test binary of this package with the flags that a command gives to
// go test.
func thisTest(t *testing.T, command string, flags ...string) string {
	t.Helper()
	require.Regexp(t, ` \.$`, command, "the command must test this package")
	given := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(command, "go test"), " ."), " -", " -test.")
	return shell(t, ".", os.Args[0]+given+" "+strings.Join(flags, " "))
}

// hasTests checks that the command selects at least one test. CI runs all tests.
func hasTests(t *testing.T, _, command string) {
	t.Helper()
	picked := regexp.MustCompile(`-run (\w+)`).FindStringSubmatch(command)
	require.NotNil(t, picked)
	require.Regexp(t, `(?m)^`+picked[1], thisTest(t, command, "-test.list", picked[1]))
}

// hasBenchmarks runs the benchmarks that the command selects once.
func hasBenchmarks(t *testing.T, _, command string) {
	t.Helper()
	require.Regexp(t, `(?m)^Benchmark\S+\s+1\s`, thisTest(t, command, "-test.benchtime", "1x"))
}

// inNewModule runs a command of the go tool in a new module, with this tree instead of the
// released module.
func inNewModule(t *testing.T, _, command string) {
	t.Helper()
	here, err := filepath.Abs(".")
	require.NoError(t, err)
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	require.NotRegexp(t, `(?m)^(replace|exclude)\b`, string(mod), "go install refuses a module with these")
	dir, bin := t.TempDir(), t.TempDir()
	env := []string{"GOFLAGS=-mod=mod", "GOPROXY=off", "GOSUMDB=off", "GOWORK=off", "GOBIN=" + bin}
	shell(t, dir, "go mod init example.org/program && go mod edit -replace "+module+"="+here+" && go get "+module, env...)
	shell(t, dir, strings.TrimSuffix(command, "@latest"), env...)
	if strings.HasPrefix(command, "go install ") {
		require.FileExists(t, filepath.Join(bin, "rendezvous"))
	}
}

// TestBenchCommands runs make bench with all flags in the documents at once. It prints
// all tables and replaces the figures of docs/performance.md.
func TestBenchCommands(t *testing.T) {
	t.Parallel()
	tree := copyTree(t)
	var flags []string
	for command := range runs {
		if given, is := strings.CutPrefix(command, "make bench BENCHFLAGS="); is {
			flags = append(flags, strings.Trim(given, "'"))
		}
	}
	require.Contains(t, flags, "-quick")
	document := filepath.Join(tree, "docs", "performance.md")
	before, err := os.ReadFile(document)
	require.NoError(t, err)
	printed := shell(t, tree, "make bench BENCHFLAGS='"+strings.Join(flags, " ")+"'")
	require.Contains(t, printed, "| REGISTER again | TCP | fresh | echo |")
	after, err := os.ReadFile(document)
	require.NoError(t, err)
	require.NotEqual(t, string(before), string(after))
	require.Contains(t, string(after), "| REGISTER again | raw | fresh |")
	require.FileExists(t, filepath.Join(tree, "bin", "bench.json"))
}

// TestNames: everything in backticks in the documents exists.
func TestNames(t *testing.T) {
	known := readNames(t)
	for document, text := range documents(t) {
		for _, code := range inline(text) {
			assert.True(t, runs[code] != nil || checkedByCommand.MatchString(code) || known.has(t, code),
				"%s: `%s` is not the name of anything. Flags are written `--flag` and commands `rendezvous serve …`; "+
					"names that belong to others go into ofOthers in docs_test.go", document, code)
		}
	}
}

// checkedByCommand matches what the tests in cmd/rendezvous check: commands, flags,
// environment variables and metrics.
var checkedByCommand = regexp.MustCompile(`^(rendezvous [a-z].*|--[a-z].*|RENDEZVOUS_\w+|libp2p_\w+)$`)

// ofOthers are names in the documents that are not from this repository.
var ofOthers = []string{
	// Other libraries and protocols.
	"/rendezvous/1.0.0", "/canvas/rendezvous/1.0.0", "UNREGISTER", "E_INVALID_COOKIE", "go-libp2p-core", "github.com/libp2p/go-libp2p-core",
	// Code that TestNames cannot parse.
	"SHA-256(bytes of the point's peer ID ‖ namespace)", `"floodsub:" + topic`, "//nolint:gosec // the key is a test's own",
	"GOLOG_LOG_LEVEL=error,rendezvous=debug,pubsub=warn", // libp2p's
	"floodsub:", // gossipsub's
	"libp2p.PrivateNetwork",
	"process_cpu_seconds_total", // of Prometheus' client for Go
	"gonum.org/v1/plot", "container/heap", "tidwall/btree", "cockroachdb/swiss", "puzpuzpuz/xsync",
	"SIGSTOP", // the kernel's
	"libp2p.UDPBlackHoleSuccessCounter(nil)", "libp2p.IPv6BlackHoleSuccessCounter(nil)",
	"link-5s", "link-30s", "link-5m", // faults of make wild
	// Older versions.
	"peer/addrinfo.go", "cannot use", "NewRendezvousClient", "NewRendezvousPoint", "DiscoverAsync", "RendezvousError",
	"Registration.Ns", "Registration.Ttl", "MaxNamespaceLength", "MaxPeerAddressLength",
	// waku-org/go-libp2p-rendezvous.
	"NewRendezvousService(host, db)", "db/sqlite", "NewRendezvousPoint(host, p)", "Register(ctx, ns, ttl)", "Unregister(ctx, ns)",
	"Discover(ctx, ns, limit, cookie)", "DiscoverAsync(ctx, ns)",
	// Settings of Redis. A test in cmd/rendezvous starts a server with them.
	`save ""`, "appendonly no", "maxmemory", "lazyfree-lazy-expire", "replica-lazy-flush", "yes", "cluster-node-timeout", "cluster-node-timeout 1500",
	"rediss://",                        // scheme of URLs, which the Redis client parses
	"/2",                               // the end of a URL
	"libp2p-peer-record",               // libp2p's domain of signed envelopes
	"/waku/2/default-waku/proto",       // a namespace in the example that TestProtocolExample checks
	"sh",                               // the language of a block
	"certhash", "http", "https", "wss", // in multiaddrs and URLs
	// Of clients of the standard protocol.
	"/canvas/rendezvous/1.0.0", "RendezvousClient.protocol", "RendezvousServer.protocol", "maxDiscoverLimit", "autoRegister", "announce", "multiaddrs", "register", "connectionGater",
	"Promise.withResolvers", "E_INVALID_SIGNED_PEER_RECORD", "libp2p-routing-state", "/libp2p/routing-state-record", "PeerInfo",
}

// packages are packages in the documents that nothing here imports by that name.
var packages = map[string]string{"drouting": "github.com/libp2p/go-libp2p/p2p/discovery/routing"}

// names are the names in this repository.
type names struct {
	code     map[string]bool   // Name, Type.Name, package.Name
	imports  map[string]string // path, by the name in code
	literals strings.Builder   // string literals of code, and files of packaging, pb and the root
}

func readNames(t *testing.T) *names {
	t.Helper()
	n := &names{code: make(map[string]bool), imports: maps.Clone(packages)}
	require.NoError(t, fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if p == ".git" || p == "bin" || p == "interop" {
				return fs.SkipDir
			}
			return err
		}
		if path.Ext(p) == ".go" {
			n.readCode(t, p)
		} else if slices.Contains([]string{"packaging", "pb", "."}, path.Dir(p)) && path.Ext(p) != ".md" {
			text, err := os.ReadFile(p)
			n.literals.Write(text)
			return err
		}
		return nil
	}))
	return n
}

func (n *names) readCode(t *testing.T, p string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, i := range file.Imports {
		whole, err := strconv.Unquote(i.Path.Value)
		require.NoError(t, err)
		name := path.Base(whole)
		if i.Name != nil {
			name = i.Name.Name
		}
		n.imports[name] = whole
		n.literals.WriteString(whole + "\n")
	}
	for _, d := range file.Decls {
		n.readDeclaration(strings.TrimSuffix(file.Name.Name, "_test"), d)
	}
	if strings.HasSuffix(p, "_test.go") {
		return // string literals of tests are no names
	}
	ast.Inspect(file, func(node ast.Node) bool {
		if l, is := node.(*ast.BasicLit); is && l.Kind == token.STRING {
			n.literals.WriteString(l.Value + "\n")
		}
		return true
	})
}

// readDeclaration adds the names that a declaration declares. Documents use the names of
// package rendezvous without the package, and its methods without their types.
func (n *names) readDeclaration(pkg string, d ast.Decl) {
	add := func(of, name string) {
		if of != "" {
			name = of + "." + name
		}
		n.code[pkg+"."+name] = true
		if pkg == "rendezvous" {
			n.code[name] = true
			n.code[name[strings.LastIndex(name, ".")+1:]] = true
		}
	}
	n.code[pkg] = n.code[pkg] || pkg != "main"
	if f, is := d.(*ast.FuncDecl); is {
		add(receiver(f), f.Name.Name)
		return
	}
	for _, spec := range d.(*ast.GenDecl).Specs {
		switch s := spec.(type) {
		case *ast.ValueSpec:
			for _, name := range s.Names {
				add("", name.Name)
			}
		case *ast.TypeSpec:
			add("", s.Name.Name)
			for _, method := range methods(s) {
				add(s.Name.Name, method)
			}
		}
	}
}

// methods returns the methods of an interface.
func methods(s *ast.TypeSpec) (names []string) {
	if i, is := s.Type.(*ast.InterfaceType); is {
		for _, m := range i.Methods.List {
			for _, name := range m.Names {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

// receiver returns the name of a method's receiver type, or an empty string.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if star, is := of.(*ast.StarExpr); is {
		of = star.X
	}
	if generic, is := of.(*ast.IndexExpr); is {
		of = generic.X
	}
	if name, is := of.(*ast.Ident); is {
		return name.Name
	}
	return ""
}

// has reports whether a code span is the name of a file, code, or a word in a string
// literal or a packaging file.
func (n *names) has(t *testing.T, code string) bool {
	t.Helper()
	if slices.Contains(ofOthers, code) {
		return true
	}
	if _, err := os.Stat(code); err == nil && !strings.HasPrefix(code, "/") {
		return true
	}
	if n.says(code) {
		return true
	}
	if !regexp.MustCompile(`^[\w.(), …]+$`).MatchString(code) {
		return false
	}
	for _, part := range regexp.MustCompile(`(^|[(, ])([A-Za-z_][\w.]*)`).FindAllStringSubmatch(code, -1) {
		argument := part[1] != "" && regexp.MustCompile(`^[a-z]+$`).MatchString(part[2]) // with any name
		if !argument && !n.hasCode(t, part[2]) {
			return false
		}
	}
	return true
}

// says reports whether the literals contain a word.
func (n *names) says(word string) bool {
	text := n.literals.String()
	for at := 0; ; at++ {
		next := strings.Index(text[at:], word)
		if next < 0 {
			return false
		}
		at += next
		if apart(text[:at], word) && apart(word, text[at+len(word):]) {
			return true
		}
	}
}

// apart reports whether there is a word boundary between two texts.
func apart(left, right string) bool {
	return !regexp.MustCompile(`\w$`).MatchString(left[max(len(left)-1, 0):]) || !regexp.MustCompile(`^\w`).MatchString(right[:min(1, len(right))])
}

// hasCode reports whether a name is declared here, in the protocol or in an imported
// package.
func (n *names) hasCode(t *testing.T, name string) bool {
	t.Helper()
	of, member, _ := strings.Cut(name, ".")
	switch {
	case n.code[name] || n.says(name):
		return true
	case of == "Message": // in pb/rendezvous.proto
		return n.says(member)
	case n.imports[of] == "":
		return false
	}
	return exec.CommandContext(t.Context(), "go", "doc", n.imports[of]+"."+member).Run() == nil
}

// fenced returns the fenced blocks of a language in a Markdown text.
func fenced(text, language string) []string {
	var blocks []string
	inside, wanted := false, false
	for line := range strings.Lines(text) {
		if fence, is := strings.CutPrefix(line, "```"); is {
			inside = !inside
			wanted = inside && strings.TrimSpace(fence) == language
			if wanted {
				blocks = append(blocks, "")
			}
			continue
		}
		if wanted {
			blocks[len(blocks)-1] += line
		}
	}
	return blocks
}

// unindent removes the tabs at the beginning of each line.
func unindent(code string) string {
	lines := strings.Split(code, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t")
	}
	return strings.Join(lines, "\n")
}

// withoutExample are functions that need no example.
var withoutExample = []string{
	"Error", "Is", "String", // methods of errors and enumerations
	"Expired", "Describe", "Collect", // called by Prometheus
	"WithMetricsTracer", "WithClientMetricsTracer", // for other kinds of metrics
}

// TestEntryPointsHaveExamples: each exported function and method is in an example, which
// is compiled and run.
func TestEntryPointsHaveExamples(t *testing.T) {
	var shown strings.Builder
	examples, err := filepath.Glob("example*_test.go")
	require.NoError(t, err)
	for _, p := range examples {
		text, err := os.ReadFile(p)
		require.NoError(t, err)
		shown.Write(text)
	}
	sources, err := filepath.Glob("*.go")
	require.NoError(t, err)
	entries := 0
	for _, p := range sources {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, is := d.(*ast.FuncDecl)
			if !is || !f.Name.IsExported() || !exportedReceiver(f) || slices.Contains(withoutExample, f.Name.Name) {
				continue
			}
			entries++
			assert.True(t, regexp.MustCompile(`\.`+f.Name.Name+`\b`).MatchString(shown.String()),
				"%s in %s is in no example: use it in an example, such as those in example_point_test.go", f.Name.Name, p)
		}
	}
	require.Greater(t, entries, 30)
}

// TestReasonsAreExplained: the guide says of each reason for which a point refuses requests
// whose fault it is.
func TestReasonsAreExplained(t *testing.T) {
	text, err := os.ReadFile(guide)
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "### RendezvousRefusesMany\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n#")
	for _, reason := range reasons() {
		assert.Contains(t, inline(section), string(reason), "%s, RendezvousRefusesMany: describe the reason %q", guide, reason)
	}
}

// exportedReceiver reports whether a function has no receiver, or one of an exported
// type.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	of := f.Recv.List[0].Type
	if star, is := of.(*ast.StarExpr); is {
		of = star.X
	}
	name, is := of.(*ast.Ident)
	return is && name.IsExported()
}
