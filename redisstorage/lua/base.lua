-- The common head of all scripts: what the fast path of add.lua needs too. Each function here
-- costs every call of a script a little.

local prefix = ARGV[1]
local order = prefix .. ':g'

local function orderKey(kind, ns) return prefix .. ':s:' .. kind .. ':' .. ns end

local function micros()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

-- A member of an index is the length of the namespace, the namespace and the peer.
local function packMember(ns, peer) return struct.pack('>I2', #ns) .. ns .. peer end

-- expireAfter makes a key expire a while after the last registration in it, in case all
-- points stop and nobody purges.
local function expireAfter(lifetime, margin, key)
  if redis.call('PTTL', key) < lifetime + margin / 2 then redis.call('PEXPIRE', key, lifetime + margin) end
end

-- underWay returns how long a request took to get here, given the earliest time that this
-- clock can have shown when it was sent. That counts as lived. More than 5 s means that the
-- sender is wrong about this clock.
local function underWay(t, sent)
  local delay = t - sent
  return delay > 0 and delay < 5000 and delay or 0
end

-- sequence returns the next sequence number, given the last: the time in microseconds, or one
-- more than the last. So one that a failover has lost is not used again.
local function sequence(last)
  local seq = string.format('%.0f', math.max((last or 0) + 1, micros()))
  redis.call('HSET', order, 'seq', seq)
  return seq
end

