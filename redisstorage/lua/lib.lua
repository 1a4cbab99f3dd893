-- The common head of every script. A shard holds the keys below. They share one hash
-- tag, so they are in one slot. <p> is the prefix with the hash tag.
--
--   <p>:i           sorted set: member (namespace and peer) -> deadline.
--                   The index: registrations in the order in which they expire.
--   <p>:a:<ns>      hash: position -> entry (deadline, peer, origin and envelope).
--                   An array per namespace. Positions run from 0 to n-1 without
--                   gaps, so every random number below n is the position of an entry.
--   <p>:d:<ns>      sorted set: position -> deadline.
--                   The positions of the array in the order in which they expire. A
--                   Sample draws by it when most of the array has expired.
--   <p>:p:<peer>    hash: namespace -> position in the namespace's array.
--                   The registrations of a peer. Its length counts against the
--                   limit per peer.
--   <p>:n           set: the namespaces that have an array.
--   <p>:b           tally of the bytes of the shard's registrations.
--   <p>:o:<origin>  tally of the registrations from an IPv4 address, or from an IPv6
--                   /64, /56 or /48. On a cluster, the shard of an origin is not that of
--                   the peers that come from there.
--
-- The server may evict or expire any of these keys without the others. So a script
-- checks that the entry at a position belongs to the peer that it expects there.
--
-- Deadlines are in milliseconds of this server's clock. A registration is live while
-- its deadline is later than now().

local prefix = ARGV[1]
local index = prefix .. ':i'
local names = prefix .. ':n'
local bytes = prefix .. ':b'

local function arrayKey(ns) return prefix .. ':a:' .. ns end
local function deadlinesKey(ns) return prefix .. ':d:' .. ns end
local function peerKey(peer) return prefix .. ':p:' .. peer end

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- countLive returns how many members of a sorted set of deadlines are later than t.
local function countLive(deadlines, t) return redis.call('ZCOUNT', deadlines, '(' .. t, '+inf') end

-- A member of the index is the length of the namespace, the namespace and the peer.
local function packMember(ns, peer) return struct.pack('>I2', #ns) .. ns .. peer end
local function unpackMember(member)
  local n = struct.unpack('>I2', member)
  return string.sub(member, 3, n + 2), string.sub(member, n + 3)
end

-- An entry of an array is the deadline, the lengths of the peer and of the origin, the
-- peer, the origin and the envelope.
local function packEntry(deadline, peer, origin, envelope)
  return struct.pack('>I6I2I1', deadline, #peer, #origin) .. peer .. origin .. envelope
end
local entryHeader = 9
local function unpackEntry(entry)
  local deadline, n = struct.unpack('>I6I2', entry)
  return deadline, string.sub(entry, entryHeader + 1, entryHeader + n)
end
-- originOf returns the origin in an entry, and how many bytes the envelope has.
local function originOf(entry)
  local _, peer, origin = struct.unpack('>I6I2I1', entry)
  local head = entryHeader + peer + origin
  return string.sub(entry, entryHeader + peer + 1, head), #entry - head
end

-- removeEntry removes the entry at pos from the array of a namespace. The last entry
-- moves to pos. The first write is a deletion, because a server that is out of memory
-- refuses a script whose first write may need memory.
local function removeEntry(ns, pos)
  local array, deadlines = arrayKey(ns), deadlinesKey(ns)
  local last = redis.call('HLEN', array) - 1
  local entry = redis.call('HGET', array, last)
  redis.call('HDEL', array, last)
  redis.call('ZREM', deadlines, last)
  if tonumber(pos) ~= last and entry then
    local deadline, peer = unpackEntry(entry)
    redis.call('HSET', array, pos, entry)
    redis.call('ZADD', deadlines, deadline, pos)
    if tonumber(redis.call('HGET', peerKey(peer), ns)) == last then
      redis.call('HSET', peerKey(peer), ns, pos)
    end
  end
  if last == 0 then redis.call('SREM', names, ns) end
end

-- remove removes a registration, whatever is left of it.
local function remove(ns, peer)
  local pos = redis.call('HGET', peerKey(peer), ns)
  local entry = pos and redis.call('HGET', arrayKey(ns), pos)
  if entry then
    local _, owner = unpackEntry(entry)
    if owner == peer then removeEntry(ns, pos) end
  elseif redis.call('EXISTS', arrayKey(ns)) == 0 then
    redis.call('SREM', names, ns)
  end
  if pos then redis.call('HDEL', peerKey(peer), ns) end
end

-- purge removes up to n registrations whose deadline is t or earlier, the earliest
-- deadline first. It returns how many it removed.
local function purge(t, n)
  local expired = redis.call('ZRANGEBYSCORE', index, '-inf', t, 'LIMIT', 0, n)
  if #expired == 0 then return 0 end
  redis.call('ZREM', index, unpack(expired)) -- first, for the reason given at removeEntry
  for _, member in ipairs(expired) do remove(unpackMember(member)) end
  return #expired
end

-- A tally is a hash that adds up the amounts of registrations. Its fields are
--
--   <slot>  the amounts of the registrations that expire in this slot of time
--   n       the sum of all slots
--   s       the slot in which slots that are past were last removed
--
-- So what has expired leaves the tally without anybody subtracting it. The current slot
-- does not count: it is less than slotLength too early rather than too late.
local slotLength = 100 -- milliseconds

local function slotOf(t) return math.floor(t / slotLength) end

-- adjustTally replaces an amount in one slot by an amount in another. What is to be
-- replaced may be missing, if the key was lost.
local function adjustTally(key, oldSlot, oldAmount, newSlot, newAmount)
  if oldAmount > 0 then
    local left = redis.call('HINCRBY', key, oldSlot, -oldAmount)
    if left <= 0 then
      redis.call('HDEL', key, oldSlot)
      oldAmount = oldAmount + left
    end
  end
  if newAmount > 0 then redis.call('HINCRBY', key, newSlot, newAmount) end
  if newAmount ~= oldAmount then redis.call('HINCRBY', key, 'n', newAmount - oldAmount) end
end

-- sumTally returns the sum of a tally. It removes the slots that are past.
local function sumTally(key, t)
  local current = slotOf(t)
  if tonumber(redis.call('HGET', key, 's')) ~= current then
    local all, sum = redis.call('HGETALL', key), 0
    for i = 1, #all, 2 do
      local slot = tonumber(all[i]) -- nil for n and s
      if slot and slot < current then
        redis.call('HDEL', key, slot)
      elseif slot then
        sum = sum + all[i + 1]
      end
    end
    if #all == 0 then return 0 end
    redis.call('HSET', key, 's', current, 'n', sum)
  end
  return redis.call('HGET', key, 'n') - (redis.call('HGET', key, current) or 0)
end

-- fits reports whether a tally can take an amount more. It adds up the slots only if the
-- limit seems to be reached.
local function fits(key, amount, limit, t)
  if limit < 0 then return true end
  return (redis.call('HGET', key, 'n') or 0) + amount <= limit or sumTally(key, t) + amount <= limit
end

-- expireAfter makes keys expire a while after the last registration in them, in case all
-- points stop and nobody purges. The keys are used together, so it looks at the first only.
local function expireAfter(lifetime, margin, ...)
  if redis.call('PTTL', (...)) < lifetime + margin / 2 then
    for _, key in ipairs({...}) do redis.call('PEXPIRE', key, lifetime + margin) end
  end
end

-- tallies returns the keys of the tallies of an origin, of 4 bytes for an IPv4 address
-- or 8 for an IPv6 /64, and how many times the limit each may have. They are in one slot.
local function tallies(origin)
  if origin == '' then return {} end
  local key = prefix .. ':o:'
  if #origin == 4 then return {{key .. origin, 1}} end
  return {{key .. origin, 1}, {key .. string.sub(origin, 1, 7), 4}, {key .. string.sub(origin, 1, 6), 16}}
end

-- originFits reports whether an origin may have one registration more, which may come
-- from another origin. A tally that counts the registration already has room for it.
local function originFits(oldOrigin, origin, limit, t)
  local counted = {}
  for _, tally in ipairs(tallies(oldOrigin)) do counted[tally[1]] = true end
  for _, tally in ipairs(tallies(origin)) do
    if not counted[tally[1]] and not fits(tally[1], 1, limit * tally[2], t) then return false end
  end
  return true
end

-- moveOrigin moves a registration from an origin and slot to others. An origin of '' is
-- none.
local function moveOrigin(oldOrigin, oldSlot, newOrigin, newSlot, lifetime)
  local counts = oldOrigin == newOrigin and 1 or 0
  if counts == 0 then
    for _, tally in ipairs(tallies(oldOrigin)) do adjustTally(tally[1], oldSlot, 1, 0, 0) end
  end
  for _, tally in ipairs(tallies(newOrigin)) do
    adjustTally(tally[1], oldSlot, counts, newSlot, 1)
    expireAfter(lifetime, 10000, tally[1])
  end
end
