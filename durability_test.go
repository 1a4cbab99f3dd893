package rendezvous

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// durabilityChild is an environment variable. With it, the test binary registers into the
// database that it names until the process is killed.
const durabilityChild = "RENDEZVOUS_TEST_REGISTER_INTO"

// registerUntilKilled registers ten peers again and again, seven of them for long and the
// others for a moment. It prints each acknowledged registration: the peer, and the content
// of its envelope, which is a version and the deadline on the wall clock.
func registerUntilKilled(path string) {
	db, err := OpenLevelDB(path)
	if err != nil {
		panic(err)
	}
	s := NewStorage(db)
	for version := time.Now().UnixNano(); ; version++ {
		ttl := time.Minute
		if version%10 >= 7 {
			ttl = 20 * time.Millisecond
		}
		deadline := time.Now().Add(ttl)
		r := Record{
			Namespace: "ns",
			Peer:      peer.ID(fmt.Sprint("peer", version%10)),
			Envelope:  fmt.Append(nil, version, deadline.UnixNano()),
			Deadline:  deadline,
		}
		if err := s.Add(context.Background(), r, Quota{}); err != nil {
			panic(err)
		}
		fmt.Printf("%s %s\n", string(r.Peer), r.Envelope)
	}
}

type acknowledgement struct {
	version  int64
	deadline time.Time
}

// Acknowledged registrations survive a kill -9 until their deadline, and no longer.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	acknowledged := make(map[peer.ID]acknowledgement)
	total := 0
	for range 50 {
		total += registerAndKill(t, path, acknowledged)
		expectAcknowledged(t, path, acknowledged)
	}
	t.Logf("%d acknowledgements in 50 lives", total)
}

// registerAndKill kills a registering process at a random moment after its first
// acknowledgement and returns all acknowledged registrations.
func registerAndKill(t *testing.T, path string, acknowledged map[peer.ID]acknowledgement) int {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), durabilityChild+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	n, last := 0, 1+rand.IntN(300)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		p, envelope, _ := strings.Cut(lines.Text(), " ")
		acknowledged[peer.ID(p)] = parseAcknowledgement(t, envelope)
		if n++; n == last {
			require.NoError(t, child.Process.Kill()) // the loop still reads the output from before
		}
	}
	require.Error(t, child.Wait(), "the child was killed")
	require.GreaterOrEqual(t, n, last)
	return n
}

func parseAcknowledgement(t *testing.T, envelope string) acknowledgement {
	t.Helper()
	var a acknowledgement
	var deadline int64
	_, err := fmt.Sscan(envelope, &a.version, &deadline)
	require.NoError(t, err, "reading %q", envelope)
	a.deadline = time.Unix(0, deadline)
	return a
}

func expectAcknowledged(t *testing.T, path string, acknowledged map[peer.ID]acknowledgement) {
	t.Helper()
	db, err := OpenLevelDB(path)
	require.NoError(t, err)
	s := NewStorage(db)
	before := time.Now()
	got, err := s.Sample(t.Context(), "ns", 100, 0)
	require.NoError(t, err)
	after := time.Now()
	require.NoError(t, s.Close())
	require.NoError(t, db.Close())

	there := make(map[peer.ID]acknowledgement)
	for _, r := range got {
		a := parseAcknowledgement(t, string(r.Envelope))
		require.True(t, a.deadline.After(before), "%s is served after its deadline", r.Peer)
		require.WithinDuration(t, a.deadline, r.Deadline, time.Second)
		there[r.Peer] = a
	}
	// The process may have died between storing a registration and acknowledging it. One
	// registration may be newer than its last acknowledgement.
	for p, a := range acknowledged {
		if a.deadline.After(after) {
			require.GreaterOrEqual(t, there[p].version, a.version, "%s was acknowledged and is lost", p)
		}
	}
}
