-- Takes out registrations that have ended.
--
-- KEYS: index
-- ARGV: prefix, how many to take out at most, and perhaps a namespace and positions
--       of its array where a Sample met entries that had ended long before
-- Returns the time, how many registrations the shard holds, and how many were taken
-- out by the index.

local t = now()
local purged = purge(t, ARGV[2])

-- What the index does not lead to, because it or a ledger has been lost, is found
-- by those who draw it. From the last position on: fill moves only what is behind.
local ns = ARGV[3]
local positions = {}
for i = 4, #ARGV do positions[#positions + 1] = tonumber(ARGV[i]) end
table.sort(positions, function(a, b) return a > b end)
for _, pos in ipairs(positions) do
  local entry = redis.call('HGET', arrayOf(ns), pos)
  local deadline, peer = t + 1, nil
  if entry then deadline, peer = splitEntry(entry) end
  if deadline <= t then
    if tonumber(redis.call('HGET', ledgerOf(peer), ns)) == pos then
      redis.call('HDEL', ledgerOf(peer), ns)
      redis.call('ZREM', index, memberOf(ns, peer))
    end
    fill(ns, pos)
  end
end
return {t, redis.call('ZCARD', index), purged}
