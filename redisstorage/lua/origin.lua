-- Moves a registration between tallies of origins, on the shard that counts them.
--
-- KEYS: a key of the shard
-- ARGV: prefix, the origin and the deadline before ('' and 0: none), the origin and the
--       deadline from now on ('' and 0: none), and the limit per origin (negative: no limit)
-- Returns 'counted', or 'origin' if the limit refuses it.

local t = now()
local oldOrigin, oldDeadline, origin, deadline = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local limit = tonumber(ARGV[6])
if origin ~= '' and limit >= 0 then
  redis.call('SETRANGE', prefix .. ':', 0, '') -- out of memory: see add.lua
  if not originFits(oldOrigin, origin, limit, t) then return 'origin' end
else
  redis.call('ZREM', index, '')
end
moveOrigin(oldOrigin, slotOf(oldDeadline), origin, slotOf(deadline), math.max(0, deadline - t))
return 'counted'
