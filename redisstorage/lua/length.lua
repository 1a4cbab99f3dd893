-- Returns the time, the length of an array and how many of its entries are live. A Sample
-- needs the time to tell whether an entry is live, and the length to tell whether it drew
-- from the whole array.
--
-- KEYS: array, deadlines
-- ARGV: prefix

local t = math.floor(micros() / 1000)
return {t, redis.call('HLEN', KEYS[1]), redis.call('ZCOUNT', KEYS[2], '(' .. t, '+inf')}
