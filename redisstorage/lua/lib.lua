-- The common head of every script. A shard holds the keys below. They share one hash
-- tag, so they are in one slot. <p> is the prefix with the hash tag.
--
--   <p>:i           sorted set: member (namespace and peer) -> deadline.
--                   The index: registrations in the order in which they expire.
--   <p>:a:<ns>      hash: position -> entry (deadline, peer and envelope).
--                   An array per namespace. Positions run from 0 to n-1 without
--                   gaps, so every random number below n is the position of an entry.
--   <p>:p:<peer>    hash: namespace -> position in the namespace's array.
--                   The registrations of a peer. Its length counts against the
--                   limit per peer.
--   <p>:n           set: the namespaces that have an array.
--
-- The server may evict or expire any of these keys without the others. So a script
-- checks that the entry at a position belongs to the peer that it expects there.
--
-- Deadlines are in milliseconds of this server's clock. A registration is live while
-- its deadline is later than now().

local prefix = ARGV[1]
local index = prefix .. ':i'
local names = prefix .. ':n'

local function arrayKey(ns) return prefix .. ':a:' .. ns end
local function peerKey(peer) return prefix .. ':p:' .. peer end

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- A member of the index is the length of the namespace, the namespace and the peer.
local function packMember(ns, peer) return struct.pack('>I2', #ns) .. ns .. peer end
local function unpackMember(member)
  local n = struct.unpack('>I2', member)
  return string.sub(member, 3, n + 2), string.sub(member, n + 3)
end

-- An entry of an array is the deadline, the length of the peer, the peer and the
-- envelope.
local function packEntry(deadline, peer, envelope)
  return struct.pack('>I6I2', deadline, #peer) .. peer .. envelope
end
local function unpackEntry(entry)
  local deadline, n = struct.unpack('>I6I2', entry)
  return deadline, string.sub(entry, 9, 8 + n)
end

-- removeEntry removes the entry at pos from the array of a namespace. The last entry
-- moves to pos. The first write is a deletion, because a server that is out of memory
-- refuses a script whose first write may need memory.
local function removeEntry(ns, pos)
  local array = arrayKey(ns)
  local last = redis.call('HLEN', array) - 1
  local entry = redis.call('HGET', array, last)
  redis.call('HDEL', array, last)
  if tonumber(pos) ~= last then
    local _, peer = unpackEntry(entry)
    redis.call('HSET', array, pos, entry)
    if tonumber(redis.call('HGET', peerKey(peer), ns)) == last then
      redis.call('HSET', peerKey(peer), ns, pos)
    end
  end
  if last == 0 then redis.call('SREM', names, ns) end
end

-- purge removes up to n registrations whose deadline is t or earlier, the earliest
-- deadline first. It returns how many it removed.
local function purge(t, n)
  local expired = redis.call('ZRANGEBYSCORE', index, '-inf', t, 'LIMIT', 0, n)
  if #expired == 0 then return 0 end
  redis.call('ZREM', index, unpack(expired)) -- first, for the reason given at removeEntry
  for _, member in ipairs(expired) do
    local ns, peer = unpackMember(member)
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
  return #expired
end
