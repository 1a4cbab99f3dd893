-- Returns registrations by their rank in the order of deadlines, the latest first. So
-- the live ones have the ranks below their number. A Sample of all namespaces draws in this
-- way, and a Sample of a namespace when most of its array has expired.
--
-- KEYS: the index, or the deadlines of the namespace
-- ARGV: prefix, namespace ('': all), ranks...
-- Returns the time, the number of registrations, the number of live ones, and for each
-- rank the namespace and the entry. The entry is false if there is no registration at the
-- rank.

local ns = ARGV[2]

-- byMember returns the namespace and the entry of a member of the index.
local function byMember(member)
  local owned, peer = unpackMember(member)
  local pos = redis.call('HGET', peerKey(peer), owned)
  local entry = pos and redis.call('HGET', arrayKey(owned), pos)
  if entry then
    local _, owner = unpackEntry(entry)
    if owner ~= peer then entry = false end
  end
  return owned, entry
end

local found = {}
for i = 3, #ARGV do
  local owned, entry = ns, false
  local member = redis.call('ZREVRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if member and ns == '' then
    owned, entry = byMember(member)
  elseif member then
    entry = redis.call('HGET', arrayKey(ns), member)
  end
  found[#found + 1] = owned
  found[#found + 1] = entry
end
local t = now()
return {t, redis.call('ZCARD', KEYS[1]), countLive(KEYS[1], t), found}
