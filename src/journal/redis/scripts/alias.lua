-- Another name of a stream, given once, and kept for a time after its last use.
-- KEYS: the alias. ARGV: stream, retain
local stream = redis.call('GET', KEYS[1])
if stream then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {'given', stream}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'new'}
