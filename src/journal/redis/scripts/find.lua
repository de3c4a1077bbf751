-- What somebody has begun; whoever asks is told what becomes of it.
-- ARGV: watch
local head, retain = get('head', 'retain')
if not head then
  return {'none'}
end
watch(ARGV[1])
return {'kept', head, tonumber(retain)}
