-- The fast path of add.lua: refreshes a registration if nothing moves. It is live and in the
-- array, neither old nor new is a lasting one or of an unusual kind, and the origin and the size
-- stay the same. Shared keys expire later because points visit the shard; see purge.lua. Returns the
-- time and the deadline.

if ARGV[6] ~= 'reserved' and ARGV[9] == '' and ARGV[10] == '0' then
  local ns, peer, envelope, origin = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
  local registrations, array = prefix .. ':p:' .. peer, prefix .. ':a:' .. ns
  local pos = redis.call('HGET', registrations, ns)
  local entry = pos and pos ~= 'r' and redis.call('HGET', array, pos)
  if entry then
    local before, n, flags = struct.unpack('>I6I2I1', entry)
    local head = 9 + n + #origin
    local t = math.floor(micros() / 1000)
    if before > t and flags == #origin and #entry == head + #envelope and string.sub(entry, 10, head) == peer .. origin then
      local lifetime = math.max(0, ARGV[8] - underWay(t, ARGV[11]))
      local deadline, index, deadlines = t + lifetime, prefix .. ':i', prefix .. ':d:' .. ns
      redis.call('ZREM', prefix .. ':n:', '') -- so that no memory is no error: see mustSucceed
      redis.call('HSET', array, pos, struct.pack('>I6I2I1', deadline, n, flags) .. peer .. origin .. envelope)
      redis.call('ZADD', deadlines, deadline, pos)
      if redis.call('ZADD', index, deadline, packMember(ns, peer)) == 1 then -- the index was lost
        redis.call('ZINCRBY', index, -(#ns + #peer + #envelope), '')
      end
      expireAfter(lifetime, 15000, registrations)
      if redis.call('PTTL', array) < lifetime + 5000 then
        redis.call('PEXPIRE', array, lifetime + 10000)
        redis.call('PEXPIRE', deadlines, lifetime + 10000)
      end
      if ARGV[6] == 'here' and origin ~= '' then
        for size = #origin, #origin == 8 and 6 or 4, -1 do
          local set = prefix .. ':o:' .. string.sub(origin, 1, size)
          redis.call('ZADD', set, deadline, ARGV[7])
          expireAfter(lifetime, 10000, set)
        end
      end
      local last = redis.call('HGET', order, 'seq')
      if last then
        local seq, byPeer = sequence(last), orderKey(0, ns)
        redis.call('ZADD', byPeer, seq, peer)
        redis.call('ZADD', orderKey(0, ''), seq, packMember(ns, peer))
        expireAfter(lifetime, 10000, byPeer)
      end
      return {t, deadline}
    end
  end
end

