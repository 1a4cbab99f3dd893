-- Returns the server's time and the length of an array: what it takes to draw from
-- it and to judge what was drawn.
--
-- KEYS: array
-- ARGV: prefix

return {now(), redis.call('HLEN', KEYS[1])}
