-- One stream: a hash with what is known of it, and a Redis Stream of records.
-- Times are milliseconds of this server's clock. The name of the hash is also
-- the channel on which the stream's followers listen.
local meta, log = KEYS[1], KEYS[2]

local clock = redis.call('TIME')
local at = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function get(...)
  return unpack(redis.call('HMGET', meta, ...))
end

local function set(...)
  redis.call('HSET', meta, ...)
end

-- Changes with every start of the server. Empty if it may not be known: then
-- nothing can be proved by it.
local function run()
  local info = redis.pcall('INFO', 'server')
  if type(info) == 'table' and info.err then
    return ''
  end
  return string.match(info.data or info, 'run_id:(%x+)') or ''
end

local function is_leased(owner, till)
  return owner and owner ~= '' and tonumber(till) > at
end

-- A sign of life of the owner, from which everything expires.
local function keep(ttl)
  local rest = (tonumber(get('retain')) or 0) + ttl
  set('until', string.format('%d', at + ttl))
  redis.call('PEXPIRE', meta, rest)
  redis.call('PEXPIRE', log, rest)
end

-- Makes it the owner's, under the next token.
local function take(owner, ttl)
  local token = redis.call('HINCRBY', meta, 'token', 1)
  set('owner', owner, 'turn', 0, 'run', run())
  keep(ttl)
  return token
end

-- What a stream is that has no records yet.
local function create(birth, branch, parent)
  set('birth', birth, 'last', 0, 'sub', 0, 'branch', branch, 'parent', parent, 'fork', 0)
end

-- Followers count as such for a while after each sign of theirs.
local function watch(time)
  set('watch', string.format('%d', at + time))
end

local function tell(what)
  if (tonumber(get('watch')) or 0) > at then
    redis.call('PUBLISH', meta, what)
  end
end

-- Whether a replica that has read up to `cursor` of that birth and branch has
-- read something else than what is kept now. A branch begins wherever records
-- may have been lost, at `fork`, and is named for the acquisition that began it:
-- a name that returns with old data is the old branch.
local function is_other(birth, branch, cursor)
  if cursor == 0 then
    return false
  end
  local now_birth, now_branch, parent, fork = get('birth', 'branch', 'parent', 'fork')
  if now_birth ~= birth then
    return true
  end
  return now_branch ~= branch and (parent ~= branch or cursor > tonumber(fork))
end
