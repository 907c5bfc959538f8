-- Keeps a write about which Redis decides, until it is drained, or for good where there is no Postgres; and tells of it.
--
-- KEYS 1 entry, 2 task, 3 pending keys
-- ARGV 1 revision of what the entry is to replace, '' if that had none, 2 key, 3 type, '' for a tombstone,
--      4 createdAt in ms, 5 expiresAt in ms, '' for never,
--      6 '1' if Postgres is to hear of it, 7 TTL in seconds, 0 for none, 8.. the event, then the fields of the entry
-- Returns 1, or 0 if the entry or the task is not what it was when it was looked at, or if a write of this key
--      is on its way to Postgres: one of the two has to be first.
local TELL = 8
local task = redis.pcall('HMGET', KEYS[2], 'deleted', 'id')
if task.err or task[1] or not task[2] then
  return 0
end
local held = redis.pcall('HGET', KEYS[1], 'revision')
if held and held.err then
  held = false
end
if (held or '') ~= ARGV[1] then
  return 0
end
if count_under_way(KEYS[2], ARGV[2]) > 0 then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, TELL + EVENT))
if ARGV[7] ~= '0' then
  redis.call('EXPIRE', KEYS[1], ARGV[7])
end
redis.call('PERSIST', KEYS[2])
if ARGV[6] == '1' then
  redis.call('SADD', KEYS[3], ARGV[2])
elseif ARGV[5] ~= '' then
  redis.call('ZADD', 'cb:expiring', ARGV[5], ARGV[TELL + 3] .. ':' .. ARGV[2])
else
  redis.call('ZREM', 'cb:expiring', ARGV[TELL + 3] .. ':' .. ARGV[2])
end
change_indexes(KEYS[2], ARGV[3], ARGV[2], ARGV[4], ARGV[5])
keep_indexes(KEYS[2])
tell(TELL)
return 1
