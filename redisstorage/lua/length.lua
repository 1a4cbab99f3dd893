-- Returns the time and the length of an array. A Sample needs the time to tell whether
-- an entry is live, and the length to tell whether it drew from the whole array.
--
-- KEYS: array
-- ARGV: prefix

return {now(), redis.call('HLEN', KEYS[1])}
