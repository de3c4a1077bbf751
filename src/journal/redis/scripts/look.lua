-- A follower's sign of life: how things stand, and, if it strives and nobody
-- owns the stream, the stream.
-- ARGV: strives, owner to be, owner before, ttl, birth, branch, cursor, alone,
--       watch, reads
local me, before, ttl = ARGV[2], ARGV[3], tonumber(ARGV[4])
local cursor, alone = tonumber(ARGV[7]), ARGV[8] == '1'
local owner, till, last, kept_run, readers = get('owner', 'until', 'last', 'run', 'readers')
if not owner then
  if ARGV[1] == '0' then
    return {'none'}
  end
  create(ARGV[5], me, ARGV[6])
  local proved = cursor == 0 and not alone
  set('doubt', proved and 0 or 1)
  return {'mine', take(me, ttl), 0, proved and 1 or 0, ARGV[5], me, 0}
end
local ours = owner == before or owner == me
local leased = is_leased(owner, till) and not ours
if not ours and is_other(ARGV[5], ARGV[6], cursor)
  or alone and (leased or tonumber(last) > cursor) then
  return {'other'}
end
watch(ARGV[9])
if ARGV[10] == '1' then
  set('readers', string.format('%d', at + ARGV[9]))
  if leased and (tonumber(readers) or 0) <= at then
    -- The owner hears of the first one at once, on its process's channel.
    redis.call('PUBLISH', string.match(owner, '^[^/]+'), meta)
  end
end
local birth, branch, head, doubt = get('birth', 'branch', 'head', 'doubt')
if leased then
  return {'held', tonumber(till) - at, last, birth, branch}
end
if ARGV[1] == '0' then
  return {'free', last, birth, branch}
end
-- Continuous is what this same server has kept since it was appended, down to
-- the last entry, and what does not lack anything this replica has read.
local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
local whole = tonumber(last) == 0 or newest and string.match(newest[1], '^%d+') == last
local now_run = run()
local proved = whole and now_run ~= '' and now_run == kept_run
  and doubt ~= '1' and cursor <= tonumber(last) and not alone
if not proved then
  -- Until a record tells of the new epoch, the next owner must doubt as well.
  set('branch', me, 'parent', branch, 'fork', last, 'doubt', 1)
  branch = me
end
return {'mine', take(me, ttl), last, proved and 1 or 0, birth, branch, head and 1 or 0}
