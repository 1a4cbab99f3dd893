-- Begins to keep the order of registrations. The first call makes every script keep it from then
-- on. It and the following ones put what is there already into the order, some at a time. Points
-- may do so at the same time, and each goes on where another has stopped.
--
-- KEYS: a key of the shard
-- ARGV: prefix, a random ID for a new order, and how many registrations to put into the order
-- Returns 1 if all are in the order.

local done, number, from = unpack(redis.call('HMGET', order, 'done', 'index', 'from'))
if done then return 1 end
local t, most = now(), tonumber(ARGV[3])
mayFail()
redis.call('HSETNX', order, 'id', ARGV[2])
expireAfter(0, 10000, order)

-- An index is walked through by deadline. What moves to an earlier one was replaced, so it is in
-- the order.
number = tonumber(number or 1)
local key = allIndexes[number]
local members = redis.call('ZRANGEBYSCORE', key, from or '(' .. t, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
local last = members[#members]
if #members < 2 * most then
  number, from = number + 1, '(' .. t
elseif members[2] == last then -- more than fit into a batch have the same deadline
  members = redis.call('ZRANGEBYSCORE', key, last, last, 'WITHSCORES')
  from = '(' .. last
else
  from = last
end
for i = 1, #members, 2 do
  local ns, peer = unpackMember(members[i])
  local _, entry = find(ns, peer)
  if entry then
    local deadline, kind = endOf(entry)
    joinOrder(ns, peer, kind, math.max(0, deadline - t), 'NX')
  end
end
redis.call('HSET', order, 'index', number, 'from', from)
if number <= #allIndexes then return 0 end
redis.call('HSET', order, 'done', 1)
redis.call('HDEL', order, 'index', 'from')
return 1
