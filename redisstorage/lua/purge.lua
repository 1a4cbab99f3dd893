-- Removes expired registrations.
--
-- KEYS: index
-- ARGV: prefix, the most registrations to remove, a namespace (may be empty), and
--       positions in its array where a Sample found expired entries
-- Returns the time, the number of live registrations in the shard, their bytes, and how many
-- registrations were removed by way of the index.

local t = now()
local purged = purge(t, ARGV[2])

-- An entry whose index or peer key was lost is not reachable by way of the index. A
-- Sample finds it. The highest position goes first, because removeEntry moves only the
-- last entry of an array.
local ns = ARGV[3]
local positions = {}
for i = 4, #ARGV do positions[#positions + 1] = tonumber(ARGV[i]) end
table.sort(positions, function(a, b) return a > b end)
for _, pos in ipairs(positions) do
  local entry = redis.call('HGET', arrayKey(ns), pos)
  local deadline, peer = t + 1, nil
  if entry then deadline, peer = unpackEntry(entry) end
  if deadline <= t then
    if tonumber(redis.call('HGET', peerKey(peer), ns)) == pos then
      redis.call('HDEL', peerKey(peer), ns)
      redis.call('ZREM', index, packMember(ns, peer))
    end
    removeEntry(ns, pos)
  end
end
redis.call('ZREM', index, '') -- for a server out of memory: see add.lua
return {t, countLive(index, t), sumTally(bytes, t), purged}
