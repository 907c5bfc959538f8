-- Keeps the deletion of a task that Postgres has not seen, and drops all that is known to hang on the task.
--
-- KEYS 1 task, 2 pending keys, 3 index of all keys, 4.. of each type
-- ARGV 1 revision of what the tombstone is to replace, 2 its own revision, 3.. the event, then its fields
-- Returns '1', or '2' if there may be attachments that no index names; '0' if the task is not what it was when it was
--      looked at or is on its way to Postgres; the highest revision of an attachment, if the tombstone's is not above it.
local TELL = 3
local held = redis.pcall('HGET', KEYS[1], 'revision')
if held and held.err then
  held = false
end
if (held or '') ~= ARGV[1] or count_under_way(KEYS[1], '') > 0 then
  return '0'
end

local complete = redis.pcall('ZSCORE', KEYS[3], '')
complete = complete and not complete.err
local keys = redis.call('SMEMBERS', KEYS[2])
if complete then
  for _, key in ipairs(redis.call('ZRANGE', KEYS[3], 1, -1)) do
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
redis.call('DEL', KEYS[1], unpack(KEYS, 2))
redis.call('HSET', KEYS[1], unpack(ARGV, TELL + EVENT))
tell(TELL)
return complete and '1' or '2'
