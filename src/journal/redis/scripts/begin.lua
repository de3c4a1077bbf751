-- Makes an owned stream known. One that nobody could know may be unheard of.
-- ARGV: owner, ttl, birth, head, retain
local owner, token = get('owner', 'token')
local ttl = tonumber(ARGV[2])
if not owner then
  create(ARGV[3], ARGV[3], '')
  token = take(ARGV[1], ttl)
elseif owner ~= ARGV[1] then
  return {'refused'}
end
set('birth', ARGV[3], 'head', ARGV[4], 'retain', ARGV[5])
keep(ttl)
tell('begun')
return {'mine', tonumber(token)}
