-- Makes the lasting registrations of peers fresh for some time from now.
--
-- KEYS: a key of the shard
-- ARGV: prefix, how long in milliseconds, the earliest time that this clock can have shown when
--       that was so (0: unknown), how many registrations to look at, how many of the first peer's
--       to leave out, peers...
-- Returns what report returns, how many peers are done, and how many registrations of the next
--       one.

local t, left, skip = now(), tonumber(ARGV[4]), tonumber(ARGV[5])
local renewed = t + math.max(0, ARGV[2] - underWay(t, ARGV[3]))
mustSucceed()

local function renew(ns, peer)
  local pos, entry = find(ns, peer)
  if not entry then return end
  local deadline, kind, lasting = endOf(entry)
  if not lasting or kind ~= 0 or deadline <= t then return end
  local e = unpackEntry(entry)
  local freshUntil = math.min(deadline, renewed)
  if freshUntil <= e.fresh or freshUntil <= t then return end
  e.fresh = freshUntil
  if pos == resting then
    redis.call('HDEL', restKey(ns), peer)
    appendEntry(ns, e, deadline - t)
  else
    redis.call('HSET', arrayKey(ns), pos, packEntry(e))
    redis.call('ZADD', deadlinesKey(ns), e.fresh, pos)
  end
  redis.call('ZADD', fresh, e.fresh, packMember(ns, peer))
  expireAfter(deadline - t, 10000, fresh)
end

local done = 0
for i = 6, #ARGV do
  local all = redis.call('HKEYS', peerKey(ARGV[i]))
  if #all > left then table.sort(all) end -- for the next call
  while skip < #all and left > 0 do
    skip, left = skip + 1, left - 1
    renew(all[skip], ARGV[i])
  end
  if skip < #all then break end
  done, skip, left = done + 1, 0, left - 1 -- a peer without registrations costs something too
end
local values = {report(t)}
values[#values + 1] = done
values[#values + 1] = skip
return values
