-- Another name of a stream, kept for a time after its last use. Whoever has it
-- keeps it, other than the one in whose place another is to have it.
-- KEYS: the alias. ARGV: stream, retain, instead
local stream = redis.call('GET', KEYS[1])
if stream and stream ~= ARGV[3] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {'given', stream}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'new'}
