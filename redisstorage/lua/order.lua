-- Begins to keep the order of registrations. The first call makes every script keep it from then
-- on. It and the following ones put what is there already into the order, some at a time. Points
-- may do so at the same time.
--
-- KEYS: a key of the shard
-- ARGV: prefix, a random ID for a new order, the number of the index to go on with, the deadline
--       to go on with, and how many registrations to put into the order
-- Returns the number of the index and the deadline to go on with. The number is 0 at the end.

if redis.call('HEXISTS', order, 'done') == 1 then return {0, '0'} end
local t, number, from, most = now(), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
mayFail()
redis.call('HSETNX', order, 'id', ARGV[2])
expireAfter(0, 10000, order)

local key = allIndexes[number]
if from == '0' then from = '(' .. t end
local members = redis.call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
local last = members[#members]
if #members < 2 * most then
  number, from = number + 1, '0'
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
if number <= #allIndexes then return {number, from} end
redis.call('HSET', order, 'done', 1)
return {0, '0'}
