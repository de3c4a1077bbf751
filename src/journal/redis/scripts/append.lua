-- Keeps a record. What is refused here was written by one who has been deposed.
-- ARGV: owner, token, turn, first, last, low, ttl, record
local owner, token, turn, last, sub = get('owner', 'token', 'turn', 'last', 'sub')
if owner ~= ARGV[1] or token ~= ARGV[2] then
  return {'refused'}
end
local ahead = tonumber(ARGV[3]) - tonumber(turn)
if ahead == 0 then
  -- Tried again because the answer was lost: it is kept already.
  keep(tonumber(ARGV[7]))
  return {'kept', tonumber(sub)}
end
local first = tonumber(ARGV[4])
if ahead ~= 1 or first <= tonumber(last) then
  -- What was kept before is here no more.
  return {'lost'}
end
if first > tonumber(last) + 1 then
  redis.call('DEL', log)
end
sub = last == ARGV[5] and tonumber(sub) + 1 or 1
redis.call('XADD', log, ARGV[5] .. '-' .. sub, 'r', ARGV[8])
set('last', ARGV[5], 'sub', sub, 'turn', ARGV[3], 'doubt', 0)
-- The newest record stays, whatever it holds: its state stands for all others.
local low = tonumber(ARGV[6])
if low > 0 and low >= tonumber(ARGV[5]) then
  redis.call('XTRIM', log, 'MINID', ARGV[5] .. '-' .. sub)
elseif low > 0 then
  redis.call('XTRIM', log, 'MINID', string.format('%.0f', low + 1))
end
keep(tonumber(ARGV[7]))
tell('record')
return {'kept', sub}
