-- The stream that has a name.
-- KEYS: the alias
local stream = redis.call('GET', KEYS[1])
return stream and {'given', stream} or {'none'}
