-- A client of a follower wants the stream to end. Its owner, or the next one,
-- hears of it when it renews, which it does at once if it hears this.
-- ARGV: 1, or 2 if nobody is to find it any more
local owner = get('owner')
if not owner then
  return {'none'}
end
set('stop', ARGV[1])
if owner ~= '' then
  redis.call('PUBLISH', string.match(owner, '^[^/]+'), meta)
end
return {'told'}
