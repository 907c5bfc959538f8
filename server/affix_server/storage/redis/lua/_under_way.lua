-- What is on its way to Postgres: the traces of those writes, by when they are over, in one sorted set for all keys, so
-- that many begin and end at once. Prepended to whatever must not decide beside them.

local UNDER_WAY = 'cb:writing'
local NAMED = #'cb:task:'

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Counts the writes of a key of a task, '' for the task itself, that are on their way, but for one's own.
local function count_under_way(task, key, own)
  local prefix = string.sub(task, NAMED + 1) .. ':' .. key .. '\31'
  local count = 0
  for _, trace in ipairs(redis.call('ZRANGEBYSCORE', UNDER_WAY, now_ms(), '+inf')) do
    if trace ~= own and string.sub(trace, 1, #prefix) == prefix then
      count = count + 1
    end
  end
  return count
end
