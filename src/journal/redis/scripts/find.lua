-- What somebody has begun; whoever asks is told what becomes of it.
-- ARGV: watch
local head, retain, owner, till = get('head', 'retain', 'owner', 'until')
if not head then
  return {'none'}
end
watch(ARGV[1])
return {'kept', head, tonumber(retain), is_leased(owner, till) and 1 or 0}
