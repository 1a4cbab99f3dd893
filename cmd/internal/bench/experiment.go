package main

// The experiments: which requests are sent, and to which sides.

import (
	"context"
	"errors"
	"fmt"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// experiment sends one kind of request over one kind of stream to several sides.
type experiment struct {
	request   string
	transport string
	stream    string // freshStream or keptStream
	sides     []side // the first is the echo
	// frames returns the sizes of a request and its answer on the wire, in bytes. It is called
	// after the sides have run.
	frames func() (request, answer int)
}

const (
	freshStream = "fresh" // a new stream for each request
	keptStream  = "kept"  // one stream for all requests of a client
)

func (e *experiment) name() string { return e.request + ", " + e.transport + ", " + e.stream }

// side is one of the implementations that an experiment compares.
type side struct {
	name    string
	clients []*client
	// prepare runs before each round and is not measured.
	prepare func(ctx context.Context, round int) error
	// begin returns a function that sends the client's nth request of a round, and a
	// function to call after the round.
	begin func(ctx context.Context, c *client) (request func(n int) error, end func(), err error)
}

// errNoMore is returned by a request function of a client that has no more requests.
var errNoMore = errors.New("no more requests")

// kind is a kind of request.
type kind struct {
	name        string
	frame       func(c *client, n int) []byte                                 // a client's nth request of a round; nil: no more
	emptied     bool                                                          // each round starts with an empty point
	library     func(ctx context.Context, b *testbed, c *client, n int) error // a client's nth request with the library; nil: not measured
	withLevelDB bool                                                          // also measured at the point with LevelDB
}

func newExperiments(b *testbed) ([]*experiment, error) {
	all, err := kinds()
	if err != nil {
		return nil, err
	}
	var es []*experiment
	for _, k := range all {
		for _, stream := range []string{freshStream, keptStream} {
			es = append(es, newExperiment(b, k, stream))
		}
	}
	return es, nil
}

// kinds returns all kinds of requests. The last one leaves the points empty.
func kinds() ([]kind, error) {
	all := []kind{{
		name:        "REGISTER again",
		frame:       func(c *client, _ int) []byte { return c.registerAgain },
		withLevelDB: true,
		library: func(ctx context.Context, b *testbed, c *client, n int) error { // one after the other, in ten namespaces
			_, err := c.library.Register(ctx, b.memory.host.ID(), fmt.Sprintf("%s/%d", againNamespace, n%10), rendezvous.MaxTTL)
			return err
		},
	}}
	for _, limit := range []int{10, 50, 1000} {
		for _, ns := range []string{smallNamespace, largeNamespace} {
			k, err := discoverKind(ns, limit)
			if err != nil {
				return nil, err
			}
			all = append(all, k)
		}
	}
	return append(all, kind{
		name:        "REGISTER first",
		emptied:     true,
		withLevelDB: true,
		frame: func(c *client, n int) []byte {
			if n >= len(c.registerFirst) {
				return nil
			}
			return c.registerFirst[n]
		},
	}), nil
}

func discoverKind(ns string, limit int) (kind, error) {
	f, err := discoverRequest(ns, limit)
	k := kind{
		name:        fmt.Sprintf("DISCOVER %d of %s", limit, map[string]string{smallNamespace: "1,000", largeNamespace: "100,000"}[ns]),
		frame:       func(*client, int) []byte { return f },
		withLevelDB: ns == largeNamespace && limit >= 50,
	}
	if limit == 50 {
		k.library = func(ctx context.Context, b *testbed, c *client, _ int) error {
			found, err := c.library.Discover(ctx, b.memory.host.ID(), ns, limit)
			if err == nil && len(found) != limit {
				err = fmt.Errorf("discovered %d peers, not %d", len(found), limit)
			}
			return err
		}
	}
	return k, err
}

func newExperiment(b *testbed, k kind, stream string) *experiment {
	e := &experiment{request: k.name, transport: b.transport, stream: stream}
	e.frames = func() (request, answer int) { return len(k.frame(b.clients[0], 0)), b.memory.echo.frameSize() }
	e.sides = []side{echoSide(b, k, stream), pointSide(b, k, stream, "memory", b.memory)}
	if stream == freshStream && b.transport == "TCP" && k.withLevelDB {
		e.sides = append(e.sides, pointSide(b, k, stream, "LevelDB", b.levelDB))
	}
	if stream == freshStream && k.library != nil {
		e.sides = append(e.sides, librarySide(b, k))
	}
	return e
}

// echoSide sends the requests to the echo, which answers with an answer of the point in
// memory. It is the first side of an experiment, so it also keeps the small namespace
// registered.
func echoSide(b *testbed, k kind, stream string) side {
	s := side{name: "echo", clients: b.clients}
	s.prepare = func(ctx context.Context, round int) error {
		if !k.emptied {
			if err := b.memory.refreshSmall(ctx); err != nil {
				return err
			}
		}
		if round > 0 {
			return nil
		}
		c := newRawClient(b.clients[0].host, b.memory.host.ID(), rendezvous.RendezvousID_v001)
		answer, err := c.request(ctx, k.frame(b.clients[0], 0))
		if err != nil {
			return err
		}
		b.memory.echo.set(answer)
		return checkOK(answer)
	}
	s.begin = func(ctx context.Context, c *client) (func(int) error, func(), error) {
		return beginRaw(ctx, newRawClient(c.host, b.memory.host.ID(), echoID), stream, rawRequests(b, k, c))
	}
	return s
}

// pointSide sends the requests to a point, with a raw client.
func pointSide(b *testbed, k kind, stream, name string, p *point) side {
	s := side{name: name, clients: b.clients}
	s.prepare = func(context.Context, int) error {
		if k.emptied {
			return p.restart()
		}
		return nil
	}
	s.begin = func(ctx context.Context, c *client) (func(int) error, func(), error) {
		return beginRaw(ctx, newRawClient(c.host, p.host.ID(), rendezvous.RendezvousID_v001), stream, rawRequests(b, k, c))
	}
	return s
}

// rawRequests returns a function that sends a client's nth request. The function fails if
// an answer is not about as long as the echo's, because a refusal is shorter.
func rawRequests(b *testbed, k kind, c *client) func(ctx context.Context, r *rawClient, n int) error {
	want := b.memory.echo.size()
	return func(ctx context.Context, r *rawClient, n int) error {
		frame := k.frame(c, n)
		if frame == nil {
			return errNoMore
		}
		answer, err := r.request(ctx, frame)
		if err == nil && (len(answer) < want-want/50 || len(answer) > want+want/50) { // TTLs differ in length
			err = errors.Join(fmt.Errorf("answer of %d bytes, not %d", len(answer), want), checkOK(answer))
		}
		return err
	}
}

func beginRaw(ctx context.Context, r *rawClient, stream string, request func(context.Context, *rawClient, int) error) (func(int) error, func(), error) {
	if stream == keptStream {
		if err := r.keepStream(ctx); err != nil {
			return nil, nil, err
		}
	}
	return func(n int) error { return request(ctx, r, n) }, r.close, nil
}

// libraryWarmup is for how long the library's clients send requests before the first round.
// They begin at the rate that a point allows by default, and grow faster with each answer
// while nothing is too much for the point.
const libraryWarmup = 3 * time.Second

// librarySide sends the requests to the point in memory with the library's client. Before
// each round every client discovers the small namespace, so that it has verified its
// records. It meets the peers of the large namespace for the first time.
func librarySide(b *testbed, k kind) side {
	s := side{name: "library", clients: b.clients}
	s.prepare = func(ctx context.Context, round int) error {
		return forEach(len(b.clients), func(i int) error {
			c := b.clients[i]
			if _, err := c.library.Discover(ctx, b.memory.host.ID(), smallNamespace, smallSize); err != nil || round > 0 {
				return err
			}
			n := 0
			for begun := time.Now(); time.Since(begun) < libraryWarmup; n++ {
				if err := k.library(ctx, b, c, n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	s.begin = func(ctx context.Context, c *client) (func(int) error, func(), error) {
		return func(n int) error { return k.library(ctx, b, c, n) }, func() {}, nil
	}
	return s
}
