-- Visits a shard: removes expired registrations, takes lasting ones that are not fresh any more
-- out of the arrays, and makes shared keys expire later.
--
-- KEYS: a key of the shard
-- ARGV: prefix, the most registrations to remove, a namespace (may be empty), and
--       positions in its array where a Sample found expired entries
-- Returns what report returns, how many registrations were removed by way of an index, and how
--       many were taken out of the arrays.

local t = now()
local most = tonumber(ARGV[2])
mustSucceed()

-- rest moves up to n lasting registrations that are not fresh any more. It returns how many.
local function rest(n)
  if n <= 0 then return 0 end
  local ended = redis.call('ZRANGEBYSCORE', fresh, '-inf', t, 'LIMIT', 0, n)
  if #ended == 0 then return 0 end
  redis.call('ZREM', fresh, unpack(ended))
  for _, member in ipairs(ended) do
    local ns, peer = unpackMember(member)
    local pos, entry = find(ns, peer)
    local e = entry and unpackEntry(entry)
    if e and pos ~= resting and e.lasting and e.fresh <= t then
      removeEntry(ns, pos)
      restEntry(ns, e, math.max(0, e.deadline - t))
    end
  end
  return #ended
end

local purged = purge(t, most)
local rested = rest(most - purged)

-- An entry whose index or peer key was lost is not reachable by way of the index. A
-- Sample finds it. The highest position goes first, because removeEntry moves only the
-- last entry of an array.
local ns = ARGV[3]
local positions = {}
for i = 4, #ARGV do positions[#positions + 1] = tonumber(ARGV[i]) end
table.sort(positions, function(a, b) return a > b end)
for _, pos in ipairs(positions) do
  local entry = redis.call('HGET', arrayKey(ns), pos)
  local e = entry and unpackEntry(entry)
  if e and e.fresh <= t then
    local reachable = tonumber(redis.call('HGET', peerKey(e.peer), ns)) == pos
    if not reachable then
      removeEntry(ns, pos)
    elseif e.deadline <= t then
      remove(ns, e.peer)
    else
      redis.call('ZREM', fresh, packMember(ns, e.peer))
      removeEntry(ns, pos)
      restEntry(ns, e, e.deadline - t)
    end
  end
end

-- Keys that all registrations share expire after the last of them.
local longest = 0
for _, key in ipairs(indexes) do
  local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  local lifetime = math.max(0, (last[2] or 0) - t)
  longest = math.max(longest, lifetime)
  if last[2] then expireAfter(lifetime, 10000, key) end
end
for _, key in ipairs({names, fresh, order, orderKey(0, ''), orderKey(1, '')}) do expireAfter(longest, 10000, key) end

local values = {report(t)}
values[#values + 1] = purged
values[#values + 1] = rested
return values
