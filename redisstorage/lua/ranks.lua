-- Returns registrations by their rank in the order of deadlines, the latest first. So
-- the live ones have the ranks below their number. A Sample of all namespaces draws in this
-- way, and a Sample of a namespace when most of its array has expired.
--
-- KEYS: a key of the shard
-- ARGV: prefix, namespace ('': all), ranks...
-- Returns the time, the number of registrations, the number of live ones, and for each
-- rank the namespace and the entry. The entry is false if there is no registration at the
-- rank.

local ns = ARGV[2]
-- The ranks of all namespaces are those of what ends with its freshness, and then those of
-- what lasts.
local ranked = ns == '' and {index, fresh} or {deadlinesKey(ns)}
local t = now()
local live, all = {}, 0
for i, key in ipairs(ranked) do
  live[i] = countLive(key, t)
  all = all + redis.call('ZCOUNT', key, 1, '+inf')
end
live[2] = live[2] or 0

-- byMember returns the namespace and the entry of a member of an index.
local function byMember(member)
  local owned, peer = unpackMember(member)
  local pos, entry = find(owned, peer)
  return owned, pos ~= resting and entry or false
end

local found = {}
for i = 3, #ARGV do
  local owned, entry = ns, false
  local rank, key = tonumber(ARGV[i]), ranked[1]
  if ranked[2] and rank >= live[1] then rank, key = rank - live[1], ranked[2] end
  local member = redis.call('ZREVRANGE', key, rank, rank)[1]
  if member and member ~= '' and ns == '' then
    owned, entry = byMember(member)
  elseif member and ns ~= '' then
    entry = redis.call('HGET', arrayKey(ns), member)
  end
  found[#found + 1] = owned
  found[#found + 1] = entry
end
return {t, all, live[1] + live[2], found}
