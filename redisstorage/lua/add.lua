-- Adds a registration or refreshes one, if the limits allow it.
--
-- KEYS: index, array, ledger, names
-- ARGV: prefix, namespace, peer, envelope, how long to live in milliseconds, what
--       the clock here said when that was so, as far as the sender knows,
--       the peer's limit, the shard's limit (negative: none)
-- Returns the time, how many registrations the shard holds, and what became of this
-- one ('added', 'peer' or 'full': the limit that refused it).

local ns, peer, envelope = ARGV[2], ARGV[3], ARGV[4]
local life, sent = tonumber(ARGV[5]), tonumber(ARGV[6])
local perPeer, total = tonumber(ARGV[7]), tonumber(ARGV[8])
local array, ledger = KEYS[2], KEYS[3]
local t = now()

-- The time on the way is a part of the life, unless the sender is mistaken about
-- this clock.
local late = t - sent
if late > 0 and late < 5000 then life = math.max(0, life - late) end
local deadline = t + life

-- found returns where the peer's entry is, and whether it is live.
local function found()
  local pos = redis.call('HGET', ledger, ns)
  local entry = pos and redis.call('HGET', array, pos)
  if not entry then return nil end
  local ends, owner = splitEntry(entry)
  if owner ~= peer then return nil end
  return pos, ends > t
end

-- Limits count what is live. When one seems to be reached, what has ended and is
-- still counted is taken out first.
local pos, live, refused
for _, most in ipairs({8, 256}) do
  purge(t, most)
  pos, live = found()
  refused = nil
  if not live then
    if perPeer >= 0 and redis.call('HLEN', ledger) >= perPeer then
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
  redis.call('HSET', ledger, ns, pos)
  if pos == 0 then redis.call('SADD', names, ns) end
end
redis.call('HSET', array, pos, entryOf(deadline, peer, envelope))
redis.call('ZADD', index, deadline, memberOf(ns, peer))

-- Every key expires by itself some time after the last registration in it, should
-- every point die. Ledgers go last: while the others are there they must be, too.
local function keep(key, spare)
  if redis.call('PTTL', key) < life + spare / 2 then
    redis.call('PEXPIRE', key, life + spare)
  end
end
keep(index, 10000)
keep(array, 10000)
keep(names, 10000)
keep(ledger, 15000)
return {t, redis.call('ZCARD', index), 'added'}
