package rendezvous

// What the documents show is what the code does.

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadmeSnippets: the Go code in the README is code of example_test.go, which
// is compiled and run.
func TestReadmeSnippets(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	examples, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	snippets := fenced(string(readme), "go")
	require.Len(t, snippets, 4)
	for _, snippet := range snippets {
		require.Contains(t, unindent(string(examples)), unindent(snippet))
	}
}

// TestProtocolExample: the frames in docs/protocol.md are those of another implementation.
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

// TestLinks: what a document links to in this repository is there.
func TestLinks(t *testing.T) {
	documents, err := filepath.Glob("*.md")
	require.NoError(t, err)
	more, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	link := regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	links := 0
	for _, document := range append(documents, more...) {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(found[1], "://") {
				continue // of others, who are not there in a test
			}
			links++
			_, err := os.Stat(filepath.Join(filepath.Dir(document), found[1]))
			require.NoError(t, err, "%s links to %s", document, found[1])
		}
	}
	require.Greater(t, links, 10)
}

// fenced returns the blocks of a language in a Markdown text.
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

// unindent takes the tabs off the front of each line.
func unindent(code string) string {
	lines := strings.Split(code, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t")
	}
	return strings.Join(lines, "\n")
}
