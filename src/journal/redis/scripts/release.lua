-- The owner gives it up; what was never begun is nothing.
-- ARGV: owner, token
local owner, token, head = get('owner', 'token', 'head')
if owner ~= ARGV[1] or token ~= ARGV[2] then
  return {'refused'}
end
tell('free')
if head then
  keep(0)
  set('owner', '', 'until', 0)
else
  redis.call('DEL', meta, log)
end
return {'released'}
