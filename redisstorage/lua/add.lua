-- Adds a registration, or refreshes it, if the limits allow it.
--
-- KEYS: index, array, peer, names
-- ARGV: prefix, namespace, peer, envelope,
--       how long the registration has left to live, in milliseconds,
--       the earliest time that this clock can have shown when that was so (0: unknown),
--       the limit per peer, the limit of the shard (negative: no limit)
-- Returns the time, the number of registrations in the shard, and the outcome:
-- 'added', or the limit that refused the registration ('peer' or 'full').

local ns, peer, envelope = ARGV[2], ARGV[3], ARGV[4]
local lifetime, sent = tonumber(ARGV[5]), tonumber(ARGV[6])
local perPeer, total = tonumber(ARGV[7]), tonumber(ARGV[8])
local array, registrations = KEYS[2], KEYS[3]
local t = now()

-- The time that the request took to get here counts as lived. A delay of more than 5 s
-- means that the sender is wrong about this clock.
local delay = t - sent
if delay > 0 and delay < 5000 then lifetime = math.max(0, lifetime - delay) end
local deadline = t + lifetime

-- current returns the position of the peer's entry, and whether the entry is live.
local function current()
  local pos = redis.call('HGET', registrations, ns)
  local entry = pos and redis.call('HGET', array, pos)
  if not entry then return nil end
  local ends, owner = unpackEntry(entry)
  if owner ~= peer then return nil end
  return pos, ends > t
end

-- Limits count live registrations. If one seems to be reached, more of what has
-- expired but is still counted is purged before the registration is refused.
local pos, live, refused
for _, batch in ipairs({8, 256}) do
  purge(t, batch)
  pos, live = current()
  refused = nil
  if not live then
    if perPeer >= 0 and redis.call('HLEN', registrations) >= perPeer then
      refused = 'peer'
    elseif total >= 0 and redis.call('ZCARD', index) >= total then
      refused = 'full'
    end
  end
  if not refused then break end
end
if refused then return {t, redis.call('ZCARD', index), refused} end

if not pos then
  pos = redis.call('HLEN', array)
  redis.call('HSET', registrations, ns, pos)
  if pos == 0 then redis.call('SADD', names, ns) end
end
redis.call('HSET', array, pos, packEntry(deadline, peer, envelope))
redis.call('ZADD', index, deadline, packMember(ns, peer))

-- Each key expires a while after the last registration in it, in case all points stop
-- and nobody purges. The peer's key goes last, because the other keys are of no use
-- without it.
local function expireAfter(key, margin)
  if redis.call('PTTL', key) < lifetime + margin / 2 then
    redis.call('PEXPIRE', key, lifetime + margin)
  end
end
expireAfter(index, 10000)
expireAfter(array, 10000)
expireAfter(names, 10000)
expireAfter(registrations, 15000)
return {t, redis.call('ZCARD', index), 'added'}
