-- Counts a registration by its origin, on the shard of that origin.
--
-- KEYS: a key of the shard
-- ARGV: prefix, the ID of the registration, the origin that counts it before ('': none) and from
--       now on ('': none), the deadline, and the limit per origin (negative: no limit)
-- Returns 'counted', or 'origin' if the limit refuses it.

local t = now()
local id, before, origin, deadline, limit = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
if origin ~= '' and limit >= 0 then
  mayFail()
  if not originFits(id, origin, limit, t) then return 'origin' end
else
  mustSucceed()
end
moveOrigin(id, before, origin, deadline, t)
return 'counted'
