-- Keeps a write of a task that Postgres has not seen, with the result that came along with it, if any.
--
-- KEYS 1 task, 2 writes of the task under way, 3 entry of the result, 4 writes of the result under way,
--      5 pending keys, 6 index of all keys, 7.. of each type
-- ARGV 1 revision of what the task is to replace, '' if that had none, 2 the builder of indexes that are to be whole
--      from now on (index_begin.lua), 3 how many arguments the task's fields are, 4.. these; then nothing, or: revision of what the
--      result is to replace, key, number of the type's index in KEYS, createdAt in ms, expiresAt in ms, '' for never, the event,
--      fields of the entry
-- Returns 1, or 0 if something is not what it was when it was looked at, or is on its way to Postgres.
local INDEXES = 6
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function as_seen(name, revision, under_way)
  local held = redis.pcall('HGET', name, 'revision')
  if held and held.err then
    held = false
  end
  return (held or '') == revision and redis.call('ZCOUNT', under_way, now, '+inf') == 0
end

local result = 4 + tonumber(ARGV[3])
if not as_seen(KEYS[1], ARGV[1], KEYS[2]) then
  return 0
end
if ARGV[result] and not as_seen(KEYS[3], ARGV[result], KEYS[4]) then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 4, result - 1))
for i = INDEXES, #KEYS do
  local begun = redis.pcall('ZSCORE', KEYS[i], ARGV[2])
  if begun and not begun.err then
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '+inf', '+inf')
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', '-inf')
    redis.call('ZADD', KEYS[i], '-inf', '')
    redis.call('PERSIST', KEYS[i])
  end
end
if ARGV[result] then
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[3], unpack(ARGV, result + 5 + EVENT))
  redis.call('SADD', KEYS[5], ARGV[result + 1])
  change_indexes(INDEXES, tonumber(ARGV[result + 2]), ARGV[result + 1], ARGV[result + 3], ARGV[result + 4])
  for i = INDEXES, #KEYS do
    if redis.call('ZSCORE', KEYS[i], '') then
      redis.call('PERSIST', KEYS[i])
    end
  end
  tell(result + 5)
end
return 1
