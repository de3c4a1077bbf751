-- A name that whoever asks first is to begin.
-- ARGV: owner, ttl, birth, watch
local head, owner, till = get('head', 'owner', 'until')
if head then
  return {'kept'}
end
if is_leased(owner, till) and owner ~= ARGV[1] then
  watch(ARGV[4])
  return {'wait', tonumber(till) - at}
end
create(ARGV[3], ARGV[3], '')
return {'mine', take(ARGV[1], tonumber(ARGV[2]))}
