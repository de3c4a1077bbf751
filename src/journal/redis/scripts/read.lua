-- Records after an entry, for one who knows the stream they are of: so many
-- bytes of them, and one more.
-- ARGV: birth, branch, cursor, entry, bytes
local birth, branch, last = get('birth', 'branch', 'last')
if not birth then
  return {'none'}
end
if is_other(ARGV[1], ARGV[2], tonumber(ARGV[3])) then
  return {'other'}
end
local found, bytes, entry = {}, 0, ARGV[4]
repeat
  local some = redis.call('XRANGE', log, '(' .. entry, '+', 'COUNT', 16)
  for _, record in ipairs(some) do
    if bytes >= tonumber(ARGV[5]) then
      return {'more', birth, branch, last, found}
    end
    entry = record[1]
    bytes = bytes + #record[2][2]
    found[#found + 1] = record
  end
until #some < 16
return {'all', birth, branch, last, found}
