-- Removes registrations of a peer.
--
-- KEYS: a key of the shard
-- ARGV: prefix, namespace ('': all), peer, where origins are counted ('here' or 'elsewhere'), and
--       the most registrations to remove
-- Returns what report returns, how many registrations there are still to remove, and, if origins
-- are counted elsewhere, the namespace and the origin of each that was removed and counts.

local t, ns, peer, here, most = now(), ARGV[2], ARGV[3], ARGV[4] == 'here', tonumber(ARGV[5])
mustSucceed()
local all = ns ~= '' and {ns} or redis.call('HKEYS', peerKey(peer))
local counted = {}
for i = 1, math.min(#all, most) do
  local e = remove(all[i], peer)
  if not e then
    redis.call('HDEL', peerKey(peer), all[i]) -- the entry was lost
  elseif here then
    moveOrigin(idOf(all[i], peer), e.origin, '', 0, t)
  elseif e.origin ~= '' then
    counted[#counted + 1] = all[i]
    counted[#counted + 1] = e.origin
  end
end
local values = {report(t)}
values[#values + 1] = math.max(0, #all - most)
values[#values + 1] = counted
return values
