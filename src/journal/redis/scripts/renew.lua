-- The owner lives. After a reconnect it also sees whether this is the server,
-- and these the data, that it knew.
-- ARGV: owner, token, turn (-1: not to be compared), low, ttl, reconnected
local owner, token, turn, last, readers, stop =
  get('owner', 'token', 'turn', 'last', 'readers', 'stop')
if owner ~= ARGV[1] or token ~= ARGV[2] then
  return {'refused'}
end
if tonumber(turn) < tonumber(ARGV[3]) then
  return {'lost'}
end
if ARGV[6] == '1' and ARGV[3] ~= '-1' then
  set('run', run())
end
local low = tonumber(ARGV[4])
if low > 0 and low < tonumber(last) then
  redis.call('XTRIM', log, 'MINID', string.format('%.0f', low + 1))
end
keep(tonumber(ARGV[5]))
return {'held', (tonumber(readers) or 0) > at and 1 or 0, tonumber(stop) or 0}
