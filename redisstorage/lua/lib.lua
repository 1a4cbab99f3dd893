-- The common part of the scripts, after base.lua. A shard holds the
-- keys below. They share one hash tag, so they are in one slot. <p> is the prefix with the
-- hash tag.
--
--   <p>:i, <p>:l, <p>:u  sorted sets: member (namespace and peer) -> deadline.
--                   The indexes: registrations in the order in which they expire. A lasting
--                   registration, which is fresh for less than it lives, is in <p>:l. Any
--                   other is in <p>:u if its envelope is of an unusual kind, and in <p>:i
--                   otherwise. The member '' has the bytes of all others, as a negative
--                   score, so it is lost only with them.
--   <p>:f           sorted set: member -> end of freshness, of the lasting registrations that
--                   are in an array.
--   <p>:a:<ns>      hash: position -> entry.
--                   An array per namespace, of what samples may contain. Positions run from 0
--                   to n-1 without gaps, so every random number below n is the position of an
--                   entry.
--   <p>:d:<ns>      sorted set: position -> end of freshness.
--                   The positions of the array in the order in which they leave it. A
--                   Sample draws by it when most of the array has expired.
--   <p>:r:<ns>      hash: peer -> entry.
--                   The registrations of a namespace that are in no sample: lasting ones that
--                   are not fresh, and those of an unusual kind.
--   <p>:p:<peer>    hash: namespace -> position in the namespace's array, or 'r'.
--                   The registrations of a peer. Its length counts against the
--                   limit per peer.
--   <p>:n           set: the namespaces that have registrations.
--   <p>:o:<origin>  sorted set: ID of a registration -> deadline. The registrations from an
--                   IPv4 address, or from an IPv6 /64, /56 or /48. On a cluster, the shard of
--                   an origin is not that of the peers that come from there.
--   <p>:g           hash: id, seq, done. Exists if the order of registrations is kept: a
--                   random ID of that order, the last sequence number, and whether what was
--                   there before is in it. If not, index and from are how far that is.
--   <p>:s:<kind>:<ns>  sorted set: peer -> sequence number. The order of a namespace.
--   <p>:s:<kind>:   sorted set: member -> sequence number. The order of all namespaces.
--
-- The server may evict or expire any of these keys without the others. So a script
-- checks that the entry at a position belongs to the peer that it expects there.
--
-- Times are in milliseconds of this server's clock. A registration is live while its
-- deadline is later than now().

local index, lastingIndex, unusualIndex = prefix .. ':i', prefix .. ':l', prefix .. ':u'
local fresh, names = prefix .. ':f', prefix .. ':n'
local resting = 'r'

-- indexes are those that may have something in them.
local allIndexes = {index, lastingIndex, unusualIndex}
local indexes = redis.call('EXISTS', lastingIndex, unusualIndex) > 0 and allIndexes or {index}

local function arrayKey(ns) return prefix .. ':a:' .. ns end
local function deadlinesKey(ns) return prefix .. ':d:' .. ns end
local function restKey(ns) return prefix .. ':r:' .. ns end
local function peerKey(peer) return prefix .. ':p:' .. peer end
local function now() return math.floor(micros() / 1000) end

-- countLive returns how many members of a sorted set of deadlines are later than t.
local function countLive(deadlines, t) return redis.call('ZCOUNT', deadlines, '(' .. t, '+inf') end

-- unpackMember returns the namespace and the peer of a member of an index.
local function unpackMember(member)
  local n = struct.unpack('>I2', member)
  return string.sub(member, 3, n + 2), string.sub(member, n + 3)
end

-- An entry is the end of freshness, the length of the peer, a byte, the peer, the origin, the
-- deadline if it is a lasting one, and the envelope. The byte is the length of the origin, 16
-- if it is a lasting one, and 32 times the kind of the envelope.
local function packEntry(e)
  local flags = #e.origin + 32 * e.kind
  local deadline = ''
  if e.lasting then flags, deadline = flags + 16, struct.pack('>I6', e.deadline) end
  local envelope = e.envelope or string.sub(e.entry, #e.entry - e.size + 1)
  return struct.pack('>I6I2I1', e.fresh, #e.peer, flags) .. e.peer .. e.origin .. deadline .. envelope
end
local entryHeader = 9
local function ownerOf(entry)
  local freshUntil, n = struct.unpack('>I6I2', entry)
  return string.sub(entry, entryHeader + 1, entryHeader + n), freshUntil
end
local function unpackEntry(entry)
  local freshUntil, n, flags = struct.unpack('>I6I2I1', entry)
  local e = {fresh = freshUntil, deadline = freshUntil, lasting = flags % 32 >= 16, kind = math.floor(flags / 32)}
  local head = entryHeader + n + flags % 16
  e.peer = string.sub(entry, entryHeader + 1, entryHeader + n)
  e.origin = string.sub(entry, entryHeader + n + 1, head)
  if e.lasting then
    e.deadline = struct.unpack('>I6', entry, head + 1)
    head = head + 6
  end
  e.entry, e.size = entry, #entry - head -- of the envelope
  return e
end

-- endOf returns the deadline and the kind of an entry, and whether it is a lasting one.
local function endOf(entry)
  local freshUntil, n, flags = struct.unpack('>I6I2I1', entry)
  local lasting = flags % 32 >= 16
  local deadline = lasting and struct.unpack('>I6', entry, entryHeader + n + flags % 16 + 1) or freshUntil
  return deadline, math.floor(flags / 32), lasting
end

-- indexOf returns the index that a registration is in.
local function indexOf(e)
  if e.lasting then return lastingIndex end
  if e.kind ~= 0 then return unusualIndex end
  return index
end

-- sizeOf returns how many bytes a registration counts.
local function sizeOf(ns, e) return #ns + #e.peer + e.size end

-- find returns where the entry of a registration is, which is a position in the array or
-- resting, and the entry.
local function find(ns, peer)
  local pos = redis.call('HGET', peerKey(peer), ns)
  if not pos then return nil end
  if pos == resting then return pos, redis.call('HGET', restKey(ns), peer) or nil end
  local entry = redis.call('HGET', arrayKey(ns), pos)
  if entry and ownerOf(entry) == peer then return pos, entry end
  return nil
end

-- Writes that do nothing, to be the first of a script. A server that is out of memory refuses
-- a script if its first write may need memory, and refuses none after that. So a script
-- begins with mayFail to be refused, and with mustSucceed not to be.
local function mayFail() redis.call('SETRANGE', prefix .. ':', 0, '') end
local function mustSucceed() redis.call('ZREM', names .. ':', '') end

-- bytesOf returns the bytes of an index and how many registrations it has, live or not.
-- addBytes changes the bytes.
local function bytesOf(key)
  local bytes, n = redis.call('ZSCORE', key, ''), redis.call('ZCARD', key)
  if bytes then return -bytes, n - 1 end
  return 0, n
end
local function addBytes(key, n)
  if n ~= 0 and tonumber(redis.call('ZINCRBY', key, -n, '')) >= 0 then redis.call('ZREM', key, '') end
end

-- report returns the time, and of the shard and of its lasting registrations how many are live
-- and the bytes of these. The bytes of what has expired and is not purged are estimated.
local function report(t)
  local live, bytes, lasting = 0, 0, {0, 0}
  for _, key in ipairs(indexes) do
    local n, b, all = countLive(key, t), bytesOf(key)
    if n < all then b = math.floor(b * n / all) end
    live, bytes = live + n, bytes + b
    if key == lastingIndex then lasting = {n, b} end
  end
  return t, live, bytes, lasting[1], lasting[2]
end

-- isOrdered reports whether the order of registrations is kept.
local ordered
local function isOrdered()
  if ordered == nil then ordered = redis.call('EXISTS', order) == 1 end
  return ordered
end

local function leaveOrder(ns, peer, kind)
  redis.call('ZREM', orderKey(kind, ns), peer)
  redis.call('ZREM', orderKey(kind, ''), packMember(ns, peer))
end

-- joinOrder puts a registration at the end of the order, or, with 'NX' for 'CH', only if it is
-- not in the order.
local function joinOrder(ns, peer, kind, lifetime, how)
  local seq, byPeer, byMember = sequence(redis.call('HGET', order, 'seq')), orderKey(kind, ns), orderKey(kind, '')
  redis.call('ZADD', byPeer, how, seq, peer)
  redis.call('ZADD', byMember, how, seq, packMember(ns, peer))
  expireAfter(lifetime, 10000, byPeer)
  expireAfter(lifetime, 10000, byMember)
  expireAfter(lifetime, 10000, order)
end

-- forgetEmpty removes the name of a namespace that has no registrations.
local function forgetEmpty(ns)
  if redis.call('EXISTS', arrayKey(ns), restKey(ns)) == 0 then redis.call('SREM', names, ns) end
end

-- removeEntry removes the entry at pos from the array of a namespace. The last entry
-- moves to pos.
local function removeEntry(ns, pos)
  local array, deadlines = arrayKey(ns), deadlinesKey(ns)
  local last = redis.call('HLEN', array) - 1
  local entry = redis.call('HGET', array, last)
  redis.call('HDEL', array, last)
  redis.call('ZREM', deadlines, last)
  if tonumber(pos) ~= last and entry then
    local peer, freshUntil = ownerOf(entry)
    redis.call('HSET', array, pos, entry)
    redis.call('ZADD', deadlines, freshUntil, pos)
    if tonumber(redis.call('HGET', peerKey(peer), ns)) == last then
      redis.call('HSET', peerKey(peer), ns, pos)
    end
  end
  if last == 0 then forgetEmpty(ns) end
end

-- expireArray makes an array expire a while after an entry. Both keys are used together, so it looks
-- at one only.
local function expireArray(ns, lifetime)
  if redis.call('PTTL', arrayKey(ns)) < lifetime + 5000 then
    redis.call('PEXPIRE', arrayKey(ns), lifetime + 10000)
    redis.call('PEXPIRE', deadlinesKey(ns), lifetime + 10000)
  end
end

-- appendEntry puts an entry into the array of its namespace.
local function appendEntry(ns, e, lifetime)
  local array, deadlines = arrayKey(ns), deadlinesKey(ns)
  local pos = redis.call('HLEN', array)
  if pos == 0 then
    redis.call('SADD', names, ns)
    expireAfter(lifetime, 10000, names)
    redis.call('DEL', deadlines) -- has something in it only if the array was lost
  end
  redis.call('HSET', array, pos, packEntry(e))
  redis.call('ZADD', deadlines, e.fresh, pos)
  redis.call('HSET', peerKey(e.peer), ns, pos)
  expireArray(ns, lifetime)
end

-- restEntry puts an entry among those of its namespace that are in no sample.
local function restEntry(ns, e, lifetime)
  redis.call('HSET', restKey(ns), e.peer, packEntry(e))
  redis.call('HSET', peerKey(e.peer), ns, resting)
  redis.call('SADD', names, ns)
  expireAfter(lifetime, 10000, names)
  expireAfter(lifetime, 10000, restKey(ns))
end

-- discard removes what is left of a registration, except in its index and where its origin is
-- counted. It returns the registration. With the key of an index, it leaves a registration
-- alone that is not in that one.
local function discard(ns, peer, key)
  local pos, entry = find(ns, peer)
  local e = entry and unpackEntry(entry)
  if e and key and indexOf(e) ~= key then return nil end
  if e and pos == resting then
    redis.call('HDEL', restKey(ns), peer)
    forgetEmpty(ns)
  elseif e then
    removeEntry(ns, pos)
  else
    forgetEmpty(ns)
  end
  if not pos and key ~= index then redis.call('HDEL', restKey(ns), peer) end -- the peer's key was lost
  redis.call('HDEL', peerKey(peer), ns)
  if e and e.lasting then redis.call('ZREM', fresh, packMember(ns, peer)) end
  if isOrdered() and e then leaveOrder(ns, peer, e.kind) end
  return e
end

-- removeFromIndex removes members from an index, and with each its registration. The size of
-- one that was lost is estimated.
local function removeFromIndex(key, members)
  local total, n = bytesOf(key)
  local average, bytes = math.floor(total / math.max(1, n)), 0
  redis.call('ZREM', key, unpack(members))
  for _, member in ipairs(members) do
    local ns, peer = unpackMember(member)
    local e = discard(ns, peer, key)
    bytes = bytes + (e and sizeOf(ns, e) or average)
  end
  addBytes(key, -math.min(bytes, total))
end

-- remove removes a registration and returns it, if there is one.
local function remove(ns, peer)
  local _, entry = find(ns, peer)
  if not entry then return nil end
  local e = unpackEntry(entry)
  local counted = redis.call('ZREM', indexOf(e), packMember(ns, peer)) == 1
  discard(ns, peer)
  if counted then addBytes(indexOf(e), -sizeOf(ns, e)) end
  return e
end

-- purge removes up to n registrations whose deadline is t or earlier, the earliest
-- deadlines of each index first. It returns how many it removed.
local function purge(t, n)
  local purged = 0
  for _, key in ipairs(indexes) do
    if purged == n then break end
    local expired = redis.call('ZRANGEBYSCORE', key, 1, t, 'LIMIT', 0, n - purged)
    if #expired > 0 then removeFromIndex(key, expired) end
    purged = purged + #expired
  end
  return purged
end

-- An origin is 4 bytes of an IPv4 address or 8 of an IPv6 address. sets returns the keys of
-- the sets of an origin, and how many times the limit each may have. They are in one slot.
local function sets(origin)
  if origin == '' then return {} end
  local key = prefix .. ':o:'
  if #origin == 4 then return {{key .. origin, 1}} end
  return {{key .. origin, 1}, {key .. string.sub(origin, 1, 7), 4}, {key .. string.sub(origin, 1, 6), 16}}
end

-- idOf returns the ID of a registration in the sets of origins.
local function idOf(ns, peer) return string.sub(redis.sha1hex(packMember(ns, peer)), 1, 24) end

-- originFits reports whether an origin may have the registration with an ID. A set that has
-- it already has room for it. What has expired is removed only if the limit seems to be
-- reached.
local function originFits(id, origin, limit, t)
  if limit < 0 then return true end
  for _, set in ipairs(sets(origin)) do
    local key, most = set[1], limit * set[2]
    if redis.call('ZCARD', key) >= most and not redis.call('ZSCORE', key, id) then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', t)
      if redis.call('ZCARD', key) >= most then return false end
    end
  end
  return true
end

-- moveOrigin counts a registration by an origin until its deadline, and no more by the one
-- before. An origin of '' is none.
local function moveOrigin(id, before, origin, deadline, t)
  local kept = {}
  for _, set in ipairs(sets(origin)) do
    kept[set[1]] = true
    redis.call('ZADD', set[1], deadline, id)
    expireAfter(math.max(0, deadline - t), 10000, set[1])
  end
  for _, set in ipairs(sets(before)) do
    if not kept[set[1]] then redis.call('ZREM', set[1], id) end
  end
end
