-- Returns registrations in the order in which they were added or replaced.
--
-- KEYS: a key of the shard
-- ARGV: prefix, namespace ('': all), kind, the ID of an order and a sequence number to begin
--       after (of another order: 0), how many registrations to look at, and after how many
--       bytes of entries to stop
-- Returns the time, the ID of the order (0: order.lua has to be run first), the sequence number
-- that the page begins after and the one of the last registration that was looked at, 1 if there
-- may be more, and for each live registration its sequence number, the namespace and the entry.

local t, ns, kind, most = now(), ARGV[2], ARGV[3], tonumber(ARGV[6])
local id, last, done = unpack(redis.call('HMGET', order, 'id', 'seq', 'done'))
if not done then return {t, 0, 0, 0, 0, {}} end
local after = ARGV[5]
if ARGV[4] ~= id or tonumber(after) > tonumber(last or 0) then after = '0' end

local key = orderKey(kind, ns)
local members = redis.call('ZRANGEBYSCORE', key, '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
local found, bytes, reached, more = {}, 0, after, #members == 2 * most
for i = 1, #members, 2 do
  local owned, peer = ns, members[i]
  if ns == '' then owned, peer = unpackMember(members[i]) end
  local _, entry = find(owned, peer)
  local deadline, kindOf = 0, nil
  if entry then deadline, kindOf = endOf(entry) end
  reached = members[i + 1]
  if kindOf ~= tonumber(kind) then
    redis.call('ZREM', key, members[i]) -- another key was lost
  elseif deadline > t then
    found[#found + 1] = tonumber(reached)
    found[#found + 1] = owned
    found[#found + 1] = entry
    bytes = bytes + #owned + #entry
    if bytes > tonumber(ARGV[7]) then
      more = true
      break
    end
  end
end
return {t, tonumber(id), tonumber(after), tonumber(reached), more and 1 or 0, found}
