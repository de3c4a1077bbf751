-- Nothing came of what a name was given for.
-- KEYS: the alias. ARGV: stream
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return {'ok'}
