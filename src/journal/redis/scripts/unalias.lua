-- Nothing came of what a name was given for.
-- KEYS: the alias
redis.call('DEL', KEYS[1])
return {'ok'}
