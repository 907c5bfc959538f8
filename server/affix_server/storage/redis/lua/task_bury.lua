-- Keeps the deletion of a task that Postgres has not seen, and drops all that is known to hang on the task.
--
-- KEYS 1 task, 2 writes of the task under way, 3 pending keys, 4 index of all keys, 5.. of each type
-- ARGV 1 revision of what the tombstone is to replace, 2 its own revision, 3.. the event, then its fields
-- Returns '1', or '2' if there may be attachments that no index names; '0' if the task is not what it was when it was
--      looked at or is on its way to Postgres; the highest revision of an attachment, if the tombstone's is not above it.
local TELL = 3
local held = redis.pcall('HGET', KEYS[1], 'revision')
if held and held.err then
  held = false
end
local time = redis.call('TIME')
if (held or '') ~= ARGV[1]
  or redis.call('ZCOUNT', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000), '+inf') > 0 then
  return '0'
end

local complete = redis.pcall('ZSCORE', KEYS[4], '')
complete = complete and not complete.err
local keys = redis.call('SMEMBERS', KEYS[3])
if complete then
  for _, key in ipairs(redis.call('ZRANGE', KEYS[4], 1, -1)) do
    keys[#keys + 1] = key
  end
end
local highest = 0
for _, key in ipairs(keys) do
  local revision = redis.pcall('HGET', KEYS[1] .. ':attachment:' .. key, 'revision')
  if revision and not revision.err then
    highest = math.max(highest, tonumber(revision) or 0)
  end
end
if highest >= tonumber(ARGV[2]) then
  return string.format('%.0f', highest)
end

for _, key in ipairs(keys) do
  redis.call('DEL', KEYS[1] .. ':attachment:' .. key)
end
redis.call('DEL', KEYS[1], unpack(KEYS, 3))
redis.call('HSET', KEYS[1], unpack(ARGV, TELL + EVENT))
tell(TELL)
return complete and '1' or '2'
