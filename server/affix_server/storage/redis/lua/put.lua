-- Publishes one attachment or tombstone as Postgres has it, unless Redis holds something newer, and
-- keeps the indexes right. A cache fill is the same step: what a reader saw in Postgres must not be
-- missing from a list read after it.
--
-- KEYS 1 entry, 2 task, 3 pending keys, 4 writes of the key under way, 5 index of all keys, 6.. of each type
-- ARGV 1 revision, 2 TTL in seconds, 3 key, 4 number of the type's index in KEYS, or 0 for
--      a tombstone, 5 createdAt in ms, 6 token of a lease, 7.. fields of the entry
-- Returns 1 if published; 0 if something as new is there; -1 if nothing is there and no lease
--      says that nothing was all the while.
local INDEXES = 5
local revision = tonumber(ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[6])

-- The tombstone of a task outlives every request that was under way when it was deleted, and nothing
-- that is left of its attachments is to be seen. One that Postgres has not seen is later than all that Postgres has.
local task = redis.pcall('HMGET', KEYS[2], 'deleted', 'revision', 'pending', 'emptied')
local gone = not task.err and task[1] and (task[3] and math.huge or tonumber(task[2]) or 0)
if gone and gone >= revision then
  local left = redis.pcall('HGET', KEYS[1], 'revision')
  if left and left.err or (tonumber(left) or 0) <= gone then
    redis.call('DEL', KEYS[1])
    redis.call('SREM', KEYS[3], ARGV[3])
  end
  return 0
end

local held = redis.pcall('HMGET', KEYS[1], 'revision', 'pending', 'leases', ARGV[6])
if held.err then
  redis.call('DEL', KEYS[1])
  forget_indexes(INDEXES)
  return -1
end
local held_revision = tonumber(held[1])
-- A task was registered in the place of a deleted one, and Postgres may not know: what it has may have hung on that.
if not task.err and task[4] and not task[1] and not (held_revision == revision and held[2]) then
  if not held_revision then
    redis.call('DEL', KEYS[1])
  end
  forget_indexes(INDEXES)
  return -1
end
if held_revision and (held_revision > revision or (held_revision == revision and not held[2])) then
  return 0
elseif not held_revision and not held[4] and (held[3] or redis.call('EXISTS', KEYS[1]) == 0) then
  -- Something newer may have been here and gone. Without an entry nobody is misled; the
  -- indexes, which may lack this one, are built again. Leases that others have been given since
  -- are void: what they have read may be older than this.
  redis.call('DEL', KEYS[1])
  forget_indexes(INDEXES)
  return -1
end

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
redis.call('EXPIRE', KEYS[1], ARGV[2])
change_indexes(INDEXES, tonumber(ARGV[4]), ARGV[3], ARGV[5])

-- The last pending write of a task is settled: from now on it may be forgotten like any other.
if redis.call('SREM', KEYS[3], ARGV[3]) == 1 and redis.call('EXISTS', KEYS[3]) == 0 then
  for i = INDEXES, #KEYS do
    redis.call('EXPIRE', KEYS[i], ARGV[2])
  end
  if redis.pcall('HEXISTS', KEYS[2], 'pending') ~= 1 then
    redis.call('EXPIRE', KEYS[2], ARGV[2])
  end
end
return 1
