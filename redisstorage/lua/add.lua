-- Adds a registration, or refreshes it, if the limits allow it.
--
-- KEYS: a key of the shard
-- ARGV: prefix, namespace, peer, envelope,
--       origin ('': does not count),
--       where the origin is counted: 'here', 'elsewhere' if another shard does that, or
--       'reserved' if another shard has done it for this call. With 'elsewhere' a refresh
--       keeps the origin that it had, unless the new one is '',
--       the ID of the registration in the sets of origins,
--       how long the registration has left to live, in milliseconds,
--       how long it is fresh if it is a lasting one, and otherwise '',
--       the kind of the envelope,
--       the earliest time that this clock can have shown when that was so (0: unknown),
--       the deadline if it is known already (0: not),
--       1 to refresh only, and to check the limits otherwise,
--       the limits per peer, per origin, of the shard, of the shard's bytes, of its lasting
--       registrations and of their bytes, and up to what size a refresh may always grow
--       (negative: no limit), as one string
-- Returns what report returns, and then the outcome: 'added', 'refreshed', 'absent' if it was to
--       refresh only, the limit that refused the registration ('peer', 'origin' or 'full'), or
--       'behind' if something has to be purged to know whether a limit refuses it,
--       the deadline, and the origin before, if it was refreshed.
-- Or returns what refresh.lua returns.

local ns, peer, origin, where, id = ARGV[2], ARGV[3], ARGV[5], ARGV[6], ARGV[7]
local here, refreshOnly = where == 'here', ARGV[13] == '1'
local limits = {}
for n in string.gmatch(ARGV[14], '%S+') do limits[#limits + 1] = tonumber(n) end
local perPeer, perOrigin, total, totalBytes, lastingTotal, lastingBytes, average = unpack(limits)

local t = now()
local delay = underWay(t, ARGV[11])
local e = {peer = peer, origin = origin, envelope = ARGV[4], kind = tonumber(ARGV[10]), lasting = ARGV[9] ~= ''}
e.size = #e.envelope
if indexOf(e) ~= index then indexes = allIndexes end
e.deadline = tonumber(ARGV[12])
if e.deadline == 0 then e.deadline = t + math.max(0, ARGV[8] - delay) end
e.fresh = e.lasting and math.min(e.deadline, t + math.max(0, ARGV[9] - delay)) or e.deadline
local lifetime, size = math.max(0, e.deadline - t), sizeOf(ns, e)

local pos, entry = find(ns, peer)
local old = entry and unpackEntry(entry)
if old and old.deadline <= t then old = nil end

-- mayMove reports whether a refresh may count for the origin that it comes from.
local function mayMove(before)
  if origin == '' or origin == before or where == 'reserved' then return true end
  return here and originFits(id, origin, perOrigin, t)
end

-- purgePeer removes what has expired of the peer's registrations.
local function purgePeer()
  for _, owned in ipairs(redis.call('HKEYS', peerKey(peer))) do
    local _, held = find(owned, peer)
    if not held then
      redis.call('HDEL', peerKey(peer), owned)
    elseif endOf(held) <= t then
      remove(owned, peer)
    end
  end
end

-- over reports whether indexes have n registrations or more that are live.
local function over(n, keys)
  if n < 0 then return false end
  local all, live = 0, 0
  for _, key in ipairs(keys) do all = all + redis.call('ZCARD', key) end -- one too many, maybe
  if all < n then return false end
  for _, key in ipairs(keys) do live = live + countLive(key, t) end
  return live >= n
end

-- overBytes returns 'full' if indexes have no room for more bytes, or 'behind' if that is not
-- known because some of them have expired.
local function overBytes(most, keys, more)
  if most < 0 then return nil end
  local function fits()
    local bytes = more
    for _, key in ipairs(keys) do bytes = bytes + (bytesOf(key)) end
    return bytes <= most
  end
  if fits() then return nil end
  purge(t, 100)
  if fits() then return nil end
  for _, key in ipairs(keys) do
    if redis.call('ZCOUNT', key, 1, t) > 0 then return 'behind' end
  end
  return 'full'
end

-- refusal returns the limit that refuses the registration, if there is one. Limits count
-- what is live.
local function refusal()
  if not old then
    if perPeer >= 0 and redis.call('HLEN', peerKey(peer)) >= perPeer then
      purgePeer()
      if redis.call('HLEN', peerKey(peer)) >= perPeer then return 'peer' end
    end
    if here and not originFits(id, origin, perOrigin, t) then return 'origin' end
    if over(total, indexes) then return 'full' end
    local refused = overBytes(totalBytes, indexes, size)
    if refused then return refused end
  end
  if e.lasting and not (old and old.lasting) then
    if over(lastingTotal, {lastingIndex}) then return 'full' end
    local refused = overBytes(lastingBytes, {lastingIndex}, size)
    if refused then return refused end
  end
  local growth = old and size - sizeOf(ns, old) or 0
  if growth > 0 and average >= 0 and size > average then
    local refused = overBytes(totalBytes, indexes, growth)
    if not refused and e.lasting and old.lasting then refused = overBytes(lastingBytes, {lastingIndex}, growth) end
    return refused
  end
end

local function answer(...)
  local values = {report(t)}
  for _, v in ipairs({...}) do values[#values + 1] = v end
  return values
end

if old then
  mustSucceed()
elseif not refreshOnly then
  mayFail()
  purge(t, 8)
end
local refused = refusal()
if refused then return answer(refused, 0, '') end
if refreshOnly and not old then return answer('absent', e.deadline, '') end

if pos then pos, entry = find(ns, peer) end -- a purge may have moved or removed it
if not old and entry then remove(ns, peer) end
if old and not mayMove(old.origin) then e.origin = old.origin end

local key, member, oldSize = indexOf(e), packMember(ns, peer), old and sizeOf(ns, old)
if old and indexOf(old) ~= key and redis.call('ZREM', indexOf(old), member) == 1 then
  addBytes(indexOf(old), -oldSize)
end
if redis.call('ZADD', key, e.deadline, member) == 1 then
  addBytes(key, size)
elseif old then
  addBytes(key, size - oldSize)
end

local sampled = e.kind == 0 and e.fresh > t
if old and pos ~= resting and sampled then
  redis.call('HSET', arrayKey(ns), pos, packEntry(e))
  redis.call('ZADD', deadlinesKey(ns), e.fresh, pos)
  expireArray(ns, lifetime)
else
  if old and pos ~= resting then removeEntry(ns, pos) end
  if old and pos == resting and sampled then redis.call('HDEL', restKey(ns), peer) end
  if sampled then appendEntry(ns, e, lifetime) else restEntry(ns, e, lifetime) end
end
if e.lasting and sampled then
  redis.call('ZADD', fresh, e.fresh, member)
  expireAfter(lifetime, 10000, fresh)
elseif old and old.lasting then
  redis.call('ZREM', fresh, member)
end
if isOrdered() then
  if old and old.kind ~= e.kind then leaveOrder(ns, peer, old.kind) end
  joinOrder(ns, peer, e.kind, lifetime, 'CH')
end
if here then moveOrigin(id, old and old.origin or '', e.origin, e.deadline, t) end

expireAfter(lifetime, 10000, key)
-- The peer's key goes last, because the other keys are of no use without it.
expireAfter(lifetime, 15000, peerKey(peer))
return answer(old and 'refreshed' or 'added', e.deadline, old and old.origin or '')
