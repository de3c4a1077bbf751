-- Nothing of it is to be kept, says its owner.
-- ARGV: owner, token
local owner, token = get('owner', 'token')
if owner ~= ARGV[1] or token ~= ARGV[2] then
  return {'refused'}
end
redis.call('DEL', meta, log)
return {'forgotten'}
