-- Returns the registrations at some ranks of the index, for a Sample of all namespaces.
--
-- KEYS: index
-- ARGV: prefix, ranks...
-- Returns the time, the length of the index, and for each rank the namespace and the
-- entry. The entry is false if there is no registration at the rank.

local found = {}
for i = 2, #ARGV do
  local ns, entry = false, false
  local member = redis.call('ZRANGE', index, ARGV[i], ARGV[i])[1]
  if member then
    local peer
    ns, peer = unpackMember(member)
    local pos = redis.call('HGET', peerKey(peer), ns)
    entry = pos and redis.call('HGET', arrayKey(ns), pos)
    if entry then
      local _, owner = unpackEntry(entry)
      if owner ~= peer then entry = false end
    end
  end
  found[#found + 1] = ns
  found[#found + 1] = entry
end
return {now(), redis.call('ZCARD', index), found}
