-- Looks at everything that decides whether a write can be accepted while Postgres is away.
--
-- KEYS 1 entry, 2 task, 3 index of all keys; ARGV 1 key
-- Returns {HGETALL of the entry, HGETALL of the task, 1 if the index is complete, the key's score in it or
--      nil, the time in microseconds}
local entry = redis.pcall('HGETALL', KEYS[1])
local task = redis.pcall('HGETALL', KEYS[2])
local complete = redis.pcall('ZSCORE', KEYS[3], '')
local is_complete = complete and not complete.err
local time = redis.call('TIME')
return {
  entry.err and {} or entry,
  task.err and {} or task,
  is_complete and 1 or 0,
  is_complete and redis.call('ZSCORE', KEYS[3], ARGV[1]) or false,
  time[1] .. string.format('%06d', tonumber(time[2])),
}
