package main

// Which requests are compared, and with what.

import (
	"context"
	"errors"
	"fmt"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// experiment is one kind of request over one kind of stream, made to different sides.
type experiment struct {
	Request   string
	Transport string
	Stream    string // "fresh" for each request, or "kept"
	sides     []side // the first is the echo
}

func (e experiment) name() string { return e.Request + ", " + e.Transport + ", " + e.Stream }

// side is one of those that an experiment compares.
type side struct {
	name    string
	clients []*client
	// prepare readies what the nth round needs; that is not measured.
	prepare func(ctx context.Context, round int) error
	// begin returns how a client makes its nth request, and what ends them all.
	begin func(ctx context.Context, c *client) (request func(n int) error, end func(), err error)
}

// errNoMore ends a client's requests before the round is over.
var errNoMore = errors.New("no more requests")

// kind is what is asked.
type kind struct {
	name    string
	frame   func(c *client, n int) []byte // the nth request of a client, nil for no more
	fresh   bool                          // each round needs a point that knows nobody
	library func(ctx context.Context, b *bed, c *client) error
	leveldb bool
}

func experiments(b *bed) ([]experiment, error) {
	all, err := kinds()
	if err != nil {
		return nil, err
	}
	var es []experiment
	for _, k := range all {
		for _, stream := range []string{"fresh", "kept"} {
			es = append(es, newExperiment(b, k, stream))
		}
	}
	return es, nil
}

// kinds has those last that leave the points empty.
func kinds() ([]kind, error) {
	all := []kind{{
		name:    "REGISTER again",
		frame:   func(c *client, _ int) []byte { return c.again },
		leveldb: true,
		library: func(ctx context.Context, b *bed, c *client) error {
			_, err := c.library.Register(ctx, b.memory.host.ID(), again, rendezvous.MaxTTL)
			return err
		},
	}}
	for _, limit := range []int{10, 50, 1000} {
		for _, ns := range []string{small, large} {
			k, err := discoverKind(ns, limit)
			if err != nil {
				return nil, err
			}
			all = append(all, k)
		}
	}
	return append(all, kind{
		name:    "REGISTER first",
		fresh:   true,
		leveldb: true,
		frame: func(c *client, n int) []byte {
			if n >= len(c.first) {
				return nil
			}
			return c.first[n]
		},
	}), nil
}

func discoverKind(ns string, limit int) (kind, error) {
	f, err := frame(&pb.Message{
		Type:     pb.Message_DISCOVER,
		Discover: &pb.Message_Discover{Ns: ns, Limit: int64(limit)},
	})
	k := kind{
		name:    fmt.Sprintf("DISCOVER %d of %s", limit, map[string]string{small: "1,000", large: "100,000"}[ns]),
		frame:   func(*client, int) []byte { return f },
		leveldb: ns == large && limit >= 50,
	}
	if limit == 50 {
		k.library = func(ctx context.Context, b *bed, c *client) error {
			found, err := c.library.Discover(ctx, b.memory.host.ID(), ns, limit)
			if err == nil && len(found) != limit {
				err = fmt.Errorf("%d peers found", len(found))
			}
			return err
		}
	}
	return k, err
}

func newExperiment(b *bed, k kind, stream string) experiment {
	e := experiment{Request: k.name, Transport: b.transport, Stream: stream}
	e.sides = []side{echoSide(b, k, stream), rawSide(b, k, stream, "memory", b.memory)}
	if stream == "fresh" && b.transport == "TCP" && k.leveldb {
		e.sides = append(e.sides, rawSide(b, k, stream, "LevelDB", b.leveldb))
	}
	if stream == "fresh" && k.library != nil {
		e.sides = append(e.sides, librarySide(b, k))
	}
	return e
}

// echoSide gives what the point in memory gave when it was asked the same. It comes
// first, and so has the small namespace's registrations made again for each round.
func echoSide(b *bed, k kind, stream string) side {
	s := side{name: "echo", clients: b.clients}
	s.prepare = func(ctx context.Context, round int) error {
		if !k.fresh {
			if err := b.memory.refresh(ctx); err != nil {
				return err
			}
		}
		if round > 0 {
			return nil
		}
		c := newRaw(b.clients[0].host, b.memory.host.ID(), rendezvous.RendezvousID_v001)
		answer, err := c.ask(ctx, k.frame(b.clients[0], 0))
		if err != nil {
			return err
		}
		b.memory.echo.set(answer)
		return checkOK(answer)
	}
	s.begin = func(ctx context.Context, c *client) (func(int) error, func(), error) {
		return begin(ctx, newRaw(c.host, b.memory.host.ID(), echoID), stream, requests(c, k, b.memory))
	}
	return s
}

func rawSide(b *bed, k kind, stream, name string, p *point) side {
	s := side{name: name, clients: b.clients}
	s.prepare = func(context.Context, int) error {
		if k.fresh {
			return p.restart()
		}
		return nil
	}
	s.begin = func(ctx context.Context, c *client) (func(int) error, func(), error) {
		return begin(ctx, newRaw(c.host, p.host.ID(), rendezvous.RendezvousID_v001), stream, requests(c, k, b.memory))
	}
	return s
}

// requests returns how to make a client's nth request. Every answer must be as
// long as the first that was OK, but for the size of a TTL: what was refused is not.
func requests(c *client, k kind, reference *point) func(ctx context.Context, r *raw, n int) error {
	want := len(reference.echo.answer.Load().message)
	return func(ctx context.Context, r *raw, n int) error {
		request := k.frame(c, n)
		if request == nil {
			return errNoMore
		}
		answer, err := r.ask(ctx, request)
		if err == nil && (len(answer) < want-want/50 || len(answer) > want+want/50) {
			err = errors.Join(fmt.Errorf("answer of %d bytes, not %d", len(answer), want), checkOK(answer))
		}
		return err
	}
}

func begin(ctx context.Context, r *raw, stream string, ask func(context.Context, *raw, int) error) (func(int) error, func(), error) {
	if stream == "kept" {
		if err := r.keep(ctx); err != nil {
			return nil, nil, err
		}
	}
	return func(n int) error { return ask(ctx, r, n) }, r.end, nil
}

// librarySide is the library's own client. Before each round it meets everyone in
// the small namespace as they are registered now, and nobody new in the large one.
func librarySide(b *bed, k kind) side {
	s := side{name: "library", clients: b.clients}
	s.prepare = func(ctx context.Context, _ int) error {
		return inParallel(len(b.clients), func(i int) error {
			_, err := b.clients[i].library.Discover(ctx, b.memory.host.ID(), small, 1000)
			return err
		})
	}
	s.begin = func(ctx context.Context, c *client) (func(int) error, func(), error) {
		return func(int) error { return k.library(ctx, b, c) }, func() {}, nil
	}
	return s
}
