-- Keeps a write of a task that Postgres has not seen, with the result that came along with it, if any.
--
-- KEYS 1 task, 2 entry of the result, 3 pending keys
-- ARGV 1 revision of what the task is to replace, '' if that had none, 2 the builder of indexes that are to be whole
--      from now on (index_begin.lua), 3 how many arguments the task's fields are, 4.. these; then nothing, or: revision of what the
--      result is to replace, key, type, createdAt in ms, expiresAt in ms, '' for never, the event,
--      fields of the entry
-- Returns 1, or 0 if something is not what it was when it was looked at, or is on its way to Postgres.
local function as_seen(name, revision, key)
  local held = redis.pcall('HGET', name, 'revision')
  if held and held.err then
    held = false
  end
  return (held or '') == revision and count_under_way(KEYS[1], key) == 0
end

local result = 4 + tonumber(ARGV[3])
if not as_seen(KEYS[1], ARGV[1], '') then
  return 0
end
if ARGV[result] and not as_seen(KEYS[2], ARGV[result], ARGV[result + 1]) then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 4, result - 1))
for _, index in ipairs(indexes_of(KEYS[1])) do
  local begun = redis.pcall('ZSCORE', index, ARGV[2])
  if begun and not begun.err then
    redis.call('ZREMRANGEBYSCORE', index, '+inf', '+inf')
    redis.call('ZREMRANGEBYSCORE', index, '-inf', '-inf')
    redis.call('ZADD', index, '-inf', '')
    redis.call('PERSIST', index)
  end
end
if ARGV[result] then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], unpack(ARGV, result + 5 + EVENT))
  redis.call('SADD', KEYS[3], ARGV[result + 1])
  change_indexes(KEYS[1], ARGV[result + 2], ARGV[result + 1], ARGV[result + 3], ARGV[result + 4])
  keep_indexes(KEYS[1])
  tell(result + 5)
end
return 1
