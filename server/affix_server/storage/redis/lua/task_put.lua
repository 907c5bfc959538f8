-- Publishes a task or its tombstone as Postgres has it, unless Redis holds something as new or newer.
--
-- KEYS 1 task, 2 its pending keys, 3.. its indexes: a tombstone takes all of them with it
-- ARGV 1 revision, 2 TTL in seconds, 3 token of a lease, 4 '1' for a tombstone, 5.. fields of the task
-- Returns 1 if published, 0 if something as new is there, -1 if nothing is there and no lease
--      says that nothing was all the while. A tombstone is always put where nothing is: it misleads nobody.
local held = redis.pcall('HMGET', KEYS[1], 'revision', 'leases', ARGV[3], 'pending')
if held.err then
  redis.call('DEL', KEYS[1])
  held = {}
end
local held_revision, revision = tonumber(held[1]), tonumber(ARGV[1])
if held_revision then
  if held_revision > revision or (held_revision == revision and not held[4]) then
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
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
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
