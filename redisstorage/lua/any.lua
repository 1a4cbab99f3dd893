-- Returns the server's time, the length of the index, and the registrations at
-- some ranks of it: namespace and entry, or false twice where there is none.
--
-- KEYS: index
-- ARGV: prefix, ranks...

local found = {}
for i = 2, #ARGV do
  local ns, entry = false, false
  local member = redis.call('ZRANGE', index, ARGV[i], ARGV[i])[1]
  if member then
    local peer
    ns, peer = splitMember(member)
    local pos = redis.call('HGET', ledgerOf(peer), ns)
    entry = pos and redis.call('HGET', arrayOf(ns), pos)
    if entry then
      local _, owner = splitEntry(entry)
      if owner ~= peer then entry = false end
    end
  end
  found[#found + 1] = ns
  found[#found + 1] = entry
end
return {now(), redis.call('ZCARD', index), found}
