package redisstorage

// The Lua scripts.

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis identifies scripts by their SHA-1
	_ "embed"
	"encoding/hex"
	"strings"

	"github.com/redis/rueidis"
)

var (
	//go:embed lua/base.lua
	baseSource string
	//go:embed lua/refresh.lua
	refreshSource string
	//go:embed lua/lib.lua
	libSource string
	//go:embed lua/add.lua
	addSource string
	//go:embed lua/count.lua
	countSource string
	//go:embed lua/length.lua
	lengthSource string
	//go:embed lua/ranks.lua
	ranksSource string
	//go:embed lua/purge.lua
	purgeSource string
	//go:embed lua/order.lua
	orderSource string
	//go:embed lua/page.lua
	pageSource string
	//go:embed lua/remove.lua
	removeSource string
	//go:embed lua/renew.lua
	renewSource string

	// The fast path of addScript comes before what it does not need.
	addScript    = newScript(refreshSource, libSource, addSource)
	countScript  = newScript(libSource, countSource)
	lengthScript = newScript(lengthSource)
	ranksScript  = newScript(libSource, ranksSource)
	purgeScript  = newScript(libSource, purgeSource)
	orderScript  = newScript(libSource, orderSource)
	pageScript   = newScript(libSource, pageSource)
	removeScript = newScript(libSource, removeSource)
	renewScript  = newScript(libSource, renewSource)
)

// script is a Lua script. A call names it by its hash. A server that has just started,
// or has just become a master, does not know the hash and needs the text once.
type script struct {
	text, hash string
}

func newScript(sources ...string) script {
	text := baseSource + strings.Join(sources, "")
	hash := sha1.Sum([]byte(text)) //nolint:gosec // Redis identifies scripts by their SHA-1
	return script{text: text, hash: hex.EncodeToString(hash[:])}
}

// run runs the script within callTimeout. If the connection is lost, it runs the script
// a second time; all scripts are idempotent.
func (s script) run(ctx context.Context, client rueidis.Client, keys []string, args ...string) rueidis.RedisResult {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	result := client.Do(ctx, s.byHash(client, keys, args...))
	if retryable(result.Error()) {
		result = client.Do(ctx, s.byHash(client, keys, args...))
	}
	if isUnknownScript(result.Error()) {
		result = client.Do(ctx, s.inFull(client, keys, args...))
	}
	return result
}

func (s script) byHash(client rueidis.Client, keys []string, args ...string) rueidis.Completed {
	return client.B().Evalsha().Sha1(s.hash).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
}

func (s script) inFull(client rueidis.Client, keys []string, args ...string) rueidis.Completed {
	return client.B().Eval().Script(s.text).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
}

func isUnknownScript(err error) bool {
	answer, ok := rueidis.IsRedisErr(err)
	return ok && answer.IsNoScript()
}
