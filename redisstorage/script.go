package redisstorage

// Scripts, and calls to servers. Every call ends within callTimeout, or dialTimeout
// later where a connection has to be made first.

import (
	"context"
	"crypto/sha1" //nolint:gosec // what Redis names its scripts by
	_ "embed"
	"encoding/hex"

	"github.com/redis/rueidis"
)

//go:embed lua/lib.lua
var lib string

//go:embed lua/add.lua
var addBody string

//go:embed lua/head.lua
var headBody string

//go:embed lua/any.lua
var anyBody string

//go:embed lua/purge.lua
var purgeBody string

var (
	addScript   = newScript(addBody)
	headScript  = newScript(headBody)
	anyScript   = newScript(anyBody)
	purgeScript = newScript(purgeBody)
)

// script is a Lua script that servers are asked to run by its hash. One that has
// just started or taken over does not know it: then it is sent in full.
type script struct {
	text, hash string
}

func newScript(body string) script {
	text := lib + body
	hash := sha1.Sum([]byte(text)) //nolint:gosec // as above
	return script{text: text, hash: hex.EncodeToString(hash[:])}
}

func (s script) byHash(c rueidis.Client, keys []string, args ...string) rueidis.Completed {
	return c.B().Evalsha().Sha1(s.hash).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
}

func (s script) inFull(c rueidis.Client, keys []string, args ...string) rueidis.Completed {
	return c.B().Eval().Script(s.text).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
}

func unknownScript(err error) bool {
	answer, ok := rueidis.IsRedisErr(err)
	return ok && answer.IsNoScript()
}

// run runs a script. It does so a second time where the first did not arrive.
func (s *Storage) run(ctx context.Context, sc script, keys []string, args ...string) rueidis.RedisResult {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	result := s.client.Do(ctx, sc.byHash(s.client, keys, args...))
	if retryable(result.Error()) {
		result = s.client.Do(ctx, sc.byHash(s.client, keys, args...))
	}
	if unknownScript(result.Error()) {
		result = s.client.Do(ctx, sc.inFull(s.client, keys, args...))
	}
	return result
}

// call runs a script of shard n that returns a head and something more.
func (s *Storage) call(ctx context.Context, n int, sc script, keys []string, args ...string) (head, rueidis.RedisMessage, error) {
	sent := s.now()
	values, err := s.run(ctx, sc, keys, args...).ToArray()
	if err != nil {
		return head{}, rueidis.RedisMessage{}, explain(ctx, err)
	}
	if len(values) != 3 {
		return head{}, rueidis.RedisMessage{}, errUnexpected
	}
	h, err := readHead(values[:2])
	if err != nil {
		return head{}, rueidis.RedisMessage{}, err
	}
	s.states[n].clock.observe(sent, s.now(), h.now)
	return h, values[2], nil
}
