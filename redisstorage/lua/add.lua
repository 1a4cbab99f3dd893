-- Adds a registration, or refreshes it, if the limits allow it.
--
-- KEYS: index, array, deadlines, peer, names, bytes
-- ARGV: prefix, namespace, peer, envelope,
--       origin ('': does not count),
--       where the origin is counted: 'here', 'elsewhere' if another shard does that, or
--       'reserved' if another shard has done it for this call. With 'elsewhere' a refresh
--       keeps the origin that it had, unless the new one is '',
--       how long the registration has left to live, in milliseconds,
--       the earliest time that this clock can have shown when that was so (0: unknown),
--       the deadline if it is known already (0: not),
--       1 to refresh only, and to check the limits otherwise,
--       the limits per peer, per origin, of the shard, of the shard's bytes (negative: no
--       limit)
-- Returns the time, the number of live registrations in the shard, their bytes (both -1
--       after a refresh of the same size, which does not change them), and then the
--       outcome: 'added', 'refreshed', 'absent' if it was to refresh only, or the limit
--       that refused the registration ('peer', 'origin' or 'full'),
--       the deadline, and the deadline and origin before, if it was refreshed.

local ns, peer, envelope, origin = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local where, here = ARGV[6], ARGV[6] == 'here'
local lifetime, sent, deadline = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local refreshOnly = ARGV[10] == '1'
local perPeer, perOrigin = tonumber(ARGV[11]), tonumber(ARGV[12])
local total, totalBytes = tonumber(ARGV[13]), tonumber(ARGV[14])
local array, deadlines, registrations = KEYS[2], KEYS[3], KEYS[4]
local size = #ns + #peer + #envelope
local t = now()

-- The time that the request took to get here counts as lived. A delay of more than 5 s
-- means that the sender is wrong about this clock.
local delay = t - sent
if delay > 0 and delay < 5000 then lifetime = math.max(0, lifetime - delay) end
if deadline == 0 then
  deadline = t + lifetime
else
  lifetime = math.max(0, deadline - t)
end

-- mayMove reports whether a refresh may count for the origin that it comes from.
local function mayMove(oldOrigin)
  if origin == '' or origin == oldOrigin or where == 'reserved' then return true end
  return here and (perOrigin < 0 or originFits(oldOrigin, origin, perOrigin, t))
end

-- current returns the position of the peer's entry, and the entry.
local function current()
  local pos = redis.call('HGET', registrations, ns)
  local entry = pos and redis.call('HGET', array, pos)
  if not entry then return nil end
  local _, owner = unpackEntry(entry)
  if owner ~= peer then return nil end
  return pos, entry
end

-- purgePeer removes what has expired of the peer's registrations.
local function purgePeer()
  local all = redis.call('HKEYS', registrations)
  for from = 1, #all, 1000 do
    local members = {}
    for i = from, math.min(from + 999, #all) do members[#members + 1] = packMember(all[i], peer) end
    local ends = redis.call('ZMSCORE', index, unpack(members))
    for i, member in ipairs(members) do
      if not ends[i] or tonumber(ends[i]) <= t then
        redis.call('ZREM', index, member)
        remove(all[from + i - 1], peer)
      end
    end
  end
end

-- refusal returns the limit that refuses a new registration, if there is one. Limits count
-- what is live.
local function refusal()
  if perPeer >= 0 and redis.call('HLEN', registrations) >= perPeer then
    purgePeer()
    if redis.call('HLEN', registrations) >= perPeer then return 'peer' end
  end
  if here and perOrigin >= 0 and not originFits('', origin, perOrigin, t) then return 'origin' end
  if total >= 0 and redis.call('ZCARD', index) >= total and countLive(index, t) >= total then return 'full' end
  if not fits(bytes, size, totalBytes, t) then return 'full' end
end

local function answer(...)
  return {t, countLive(index, t), math.max(0, sumTally(bytes, t)), ...}
end

local pos, entry = current()
local before = entry and unpackEntry(entry)
local live = entry and before > t
local oldOrigin, oldEnvelope = '', 0
if live then
  oldOrigin, oldEnvelope = originOf(entry)
  -- A server that is out of memory refuses the first write of a script, if the write may
  -- need memory, but none after a write that does not. So it never refuses a refresh.
  redis.call('ZREM', index, '')
  if not mayMove(oldOrigin) then origin = oldOrigin end
elseif refreshOnly then
  return answer(refusal() or 'absent', t + lifetime, 0, '')
else
  -- For the same reason, the first write for a new registration is one that may need
  -- memory. This one does nothing.
  redis.call('SETRANGE', prefix .. ':', 0, '')
  purge(t, 8)
  local refused = refusal()
  if refused then return answer(refused, 0, 0, '') end
  pos, entry = current() -- a purge may have moved or removed it
end

if not pos then
  pos = redis.call('HLEN', array)
  redis.call('HSET', registrations, ns, pos)
  if pos == 0 then
    redis.call('SADD', names, ns)
    redis.call('DEL', deadlines) -- has something in it only if the array was lost
  end
end
redis.call('HSET', array, pos, packEntry(deadline, peer, origin, envelope))
redis.call('ZADD', deadlines, deadline, pos)
redis.call('ZADD', index, deadline, packMember(ns, peer))

local oldSlot, oldSize = 0, 0
if live then oldSlot, oldSize = slotOf(before), #ns + #peer + oldEnvelope end
adjustTally(bytes, oldSlot, oldSize, slotOf(deadline), size)
if here then moveOrigin(oldOrigin, oldSlot, origin, slotOf(deadline), lifetime) end

-- The peer's key goes last, because the other keys are of no use without it.
expireAfter(lifetime, 10000, index, names, bytes)
expireAfter(lifetime, 10000, array, deadlines)
expireAfter(lifetime, 15000, registrations)
if live and size == oldSize then return {t, -1, -1, 'refreshed', deadline, before, oldOrigin} end
if live then return answer('refreshed', deadline, before, oldOrigin) end
return answer('added', deadline, 0, '')
