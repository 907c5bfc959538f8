-- Publishes a task or its tombstone as Postgres has it, unless Redis holds something as new or newer. Of a tombstone it
-- tells, if nobody has: its event is that of the attachments' end too.
--
-- KEYS 1 task, 2 its pending keys, 3.. its indexes: a tombstone takes all of them with it
-- ARGV 1 revision, 2 TTL in seconds, 3 token of a lease, 4 '1' for a tombstone, 5 number of the event's arguments,
--      0 for none, 6.. the event, then the fields of the task
-- Returns 1 if published, 0 if something as new is there, -1 if nothing is there and no lease
--      says that nothing was all the while. A tombstone is always put where nothing is: it misleads nobody.
local TELL = 6
local has_event = ARGV[5] ~= '0'
local held = redis.pcall('HMGET', KEYS[1], 'revision', 'leases', ARGV[3], 'pending', 'deleted', 'untold')
if held.err then
  redis.call('DEL', KEYS[1])
  held = {}
end
local held_revision, revision = tonumber(held[1]), tonumber(ARGV[1])
if held_revision then
  if held_revision > revision or (held_revision == revision and not held[4]) then
    if has_event and held_revision == revision and held[6] then
      tell(TELL)
      redis.call('HDEL', KEYS[1], 'untold')
    elseif has_event and not held[5] then
      -- The task is there again, and some of what happened to it since has been told of.
      tell_of_gap(ARGV[TELL + 3], '')
    end
    return 0
  end
elseif ARGV[4] ~= '1' and not held[3] and (held[2] or redis.call('EXISTS', KEYS[1]) == 0) then
  redis.call('DEL', KEYS[1]) -- leases of others, who may have read what is older than this
  return -1
end
if ARGV[4] == '1' then
  -- Of these only Redis knows.
  for _, key in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    redis.call('DEL', KEYS[1] .. ':attachment:' .. key)
  end
  redis.call('DEL', unpack(KEYS))
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, TELL + tonumber(ARGV[5])))
-- A deletion that was pending was told of when it was accepted.
local is_settled = held_revision == revision and held[4]
if has_event and not is_settled then
  tell(TELL)
elseif ARGV[4] == '1' and not is_settled then
  redis.call('HSET', KEYS[1], 'untold', '1')
end
-- While writes to the task are pending, it may not be forgotten.
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  if held[4] then
    for i = 3, #KEYS do
      redis.call('EXPIRE', KEYS[i], ARGV[2])
    end
  end
end
return 1
