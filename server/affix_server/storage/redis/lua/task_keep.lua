-- Keeps a task where there is no Postgres.
--
-- KEYS 1 task, 2.. its indexes
-- ARGV 1 revision of what it is to replace, '' if that had none, 2 what to do with the indexes: 'make' empty
--      and complete ones, 'drop' them, or 'leave' them, 3 TTL in seconds, 0 for none, 4 number of the event's
--      arguments, 0 for none, 5.. the event, then the fields
-- Returns 1, or 0 if the task is not what it was when it was looked at.
local TELL = 5
local held = redis.pcall('HGET', KEYS[1], 'revision')
if held and held.err then
  held = false
end
if (held or '') ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, TELL + tonumber(ARGV[4])))
if ARGV[3] ~= '0' then
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
for i = 2, #KEYS do
  if ARGV[2] ~= 'leave' then
    redis.call('DEL', KEYS[i])
  end
  if ARGV[2] == 'make' then
    redis.call('ZADD', KEYS[i], '-inf', '')
  end
end
if ARGV[4] ~= '0' then
  tell(TELL)
end
return 1
