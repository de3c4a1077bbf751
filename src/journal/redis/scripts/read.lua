-- Records after an entry, for one who knows the stream they are of.
-- ARGV: birth, branch, cursor, entry, count
local birth, branch, last = get('birth', 'branch', 'last')
if not birth then
  return {'none'}
end
if is_other(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])) then
  return {'other'}
end
local found = redis.call('XRANGE', log, '(' .. ARGV[4], '+', 'COUNT', ARGV[5])
return {'records', birth, tonumber(branch), last, found}
