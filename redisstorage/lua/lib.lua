-- What every script here begins with. A shard keeps, all under one hash tag and so
-- in one slot, where <p> is the prefix with that tag:
--
--   <p>:i           sorted set: member (namespace and peer) -> deadline.
--                   Who ends when.
--   <p>:a:<ns>      hash: position -> entry (deadline, peer, envelope).
--                   Positions are 0 to n-1 without holes, so that whoever draws
--                   numbers below n has drawn entries.
--   <p>:p:<peer>    hash: namespace -> position in its array.
--                   What the peer holds, which is what its limit counts.
--   <p>:n           set: the namespaces that have an array.
--
-- Each of them may vanish by itself, evicted or expired. So nothing here believes
-- that the entry at a position is a peer's without looking.
--
-- Deadlines are milliseconds of this server's clock. A registration is live while
-- its deadline is later than now().

local prefix = ARGV[1]
local index = prefix .. ':i'
local names = prefix .. ':n'

local function arrayOf(ns) return prefix .. ':a:' .. ns end
local function ledgerOf(peer) return prefix .. ':p:' .. peer end

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- A member is the namespace's length, the namespace, and the peer.
local function memberOf(ns, peer) return struct.pack('>I2', #ns) .. ns .. peer end
local function splitMember(member)
  local n = struct.unpack('>I2', member)
  return string.sub(member, 3, n + 2), string.sub(member, n + 3)
end

-- An entry is the deadline, the peer's length, the peer, and the envelope.
local function entryOf(deadline, peer, envelope)
  return struct.pack('>I6I2', deadline, #peer) .. peer .. envelope
end
local function splitEntry(entry)
  local deadline, n = struct.unpack('>I6I2', entry)
  return deadline, string.sub(entry, 9, 8 + n)
end

-- fill takes the entry at pos out of an array: the last entry moves there.
-- (It begins with a deletion because a server that is out of memory lets nothing
-- else be the first write of a script.)
local function fill(ns, pos)
  local array = arrayOf(ns)
  local last = redis.call('HLEN', array) - 1
  local entry = redis.call('HGET', array, last)
  redis.call('HDEL', array, last)
  if tonumber(pos) ~= last then
    local _, mover = splitEntry(entry)
    redis.call('HSET', array, pos, entry)
    if tonumber(redis.call('HGET', ledgerOf(mover), ns)) == last then
      redis.call('HSET', ledgerOf(mover), ns, pos)
    end
  end
  if last == 0 then redis.call('SREM', names, ns) end
end

-- purge takes out up to n registrations that have ended at t, the longest ended
-- first, and returns how many.
local function purge(t, n)
  local ended = redis.call('ZRANGEBYSCORE', index, '-inf', t, 'LIMIT', 0, n)
  if #ended == 0 then return 0 end
  redis.call('ZREM', index, unpack(ended)) -- first: see fill
  for _, member in ipairs(ended) do
    local ns, peer = splitMember(member)
    local pos = redis.call('HGET', ledgerOf(peer), ns)
    local entry = pos and redis.call('HGET', arrayOf(ns), pos)
    if entry then
      local _, owner = splitEntry(entry)
      if owner == peer then fill(ns, pos) end
    elseif redis.call('EXISTS', arrayOf(ns)) == 0 then
      redis.call('SREM', names, ns)
    end
    if pos then redis.call('HDEL', ledgerOf(peer), ns) end
  end
  return #ended
end
