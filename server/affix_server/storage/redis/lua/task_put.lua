-- Publishes a task or its tombstone as Postgres has it, unless Redis holds something as new or newer.
--
-- KEYS 1 task, and with a tombstone all that goes with it: 2 its pending keys, 3.. its indexes
-- ARGV 1 revision, 2 TTL in seconds, 3 token of a lease, 4 '1' for a tombstone, 5.. fields of the task
-- Returns 1 if published, 0 if something as new is there, -1 if nothing is there and no lease
--      says that nothing was all the while. A tombstone is always put where nothing is: it misleads nobody.
local held = redis.pcall('HMGET', KEYS[1], 'revision', 'leases', ARGV[3])
if held.err then
  redis.call('DEL', KEYS[1])
  held = {}
end
local held_revision = tonumber(held[1])
if held_revision then
  if held_revision >= tonumber(ARGV[1]) then
    return 0
  end
elseif ARGV[4] ~= '1' and not held[3] and (held[2] or redis.call('EXISTS', KEYS[1]) == 0) then
  redis.call('DEL', KEYS[1]) -- leases of others, who may have read what is older than this
  return -1
end
-- While writes to the task are pending, it may not be forgotten.
local keep = ARGV[4] ~= '1' and redis.call('TTL', KEYS[1]) == -1 and held_revision
if ARGV[4] == '1' then
  -- Of these only Redis knows.
  for _, key in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    redis.call('DEL', KEYS[1] .. ':attachment:' .. key)
  end
end
redis.call('DEL', unpack(KEYS))
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
if not keep then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return 1
