-- Publishes one attachment or tombstone as Postgres has it, unless Redis holds something newer, keeps the indexes
-- right, and tells of it if nobody has. A cache fill is the same step without an event: what a reader saw in
-- Postgres must not be missing from a list read after it.
--
-- KEYS 1 entry, 2 task, 3 pending keys, 4 writes of the key under way, 5 index of all keys, 6.. of each type
-- ARGV 1 revision, 2 TTL in seconds, 3 key, 4 number of the type's index in KEYS, or 0 for
--      a tombstone, 5 createdAt in ms, 6 expiresAt in ms, '' for never, 7 token of a lease, 8 the write's intent,
--      '' if it has none, 9 revision that this one replaced, 10 revision after which a write counts as not told of where
--      Redis does not know, '' for what may still be on its way here, 11 '1' to wait for that, 12 number of the event's
--      arguments, 0 for none, 13.. the event, then the fields of the entry
-- Returns 1 if published; 0 if something as new is there; -1 if nothing is there and no lease
--      says that nothing was all the while; -2 if it is too early, and nothing has been done.
local INDEXES, TELL = 5, 13
local revision, previous = tonumber(ARGV[1]), tonumber(ARGV[9])
local has_event = ARGV[12] ~= '0'

local function is_over()
  redis.call('ZREM', KEYS[4], ARGV[7])
  if ARGV[8] ~= '' then
    redis.call('ZREM', 'cb:intents', ARGV[8])
  end
end

-- The tombstone of a task outlives every request that was under way when it was deleted, and nothing
-- that is left of its attachments is to be seen. One that Postgres has not seen is later than all that Postgres has.
-- The task's own event has told of their end.
local task = redis.pcall('HMGET', KEYS[2], 'deleted', 'revision', 'pending', 'emptied')
local gone = not task.err and task[1] and (task[3] and math.huge or tonumber(task[2]) or 0)
if gone and gone >= revision then
  is_over()
  local left = redis.pcall('HGET', KEYS[1], 'revision')
  if left and left.err or (tonumber(left) or 0) <= gone then
    redis.call('DEL', KEYS[1])
    redis.call('SREM', KEYS[3], ARGV[3])
  end
  return 0
end

local held = redis.pcall('HMGET', KEYS[1], 'revision', 'pending', 'leases', ARGV[7], 'told')
if held.err then
  redis.call('DEL', KEYS[1])
  forget_indexes(INDEXES)
  is_over()
  if has_event then
    tell(TELL)
  end
  return -1
end
local held_revision = tonumber(held[1])
-- A task was registered in the place of a deleted one, and Postgres may not know: what it has may have hung on that,
-- whose event has told of its end.
if not task.err and task[4] and not task[1] and not (held_revision == revision and held[2]) then
  is_over()
  if not held_revision then
    redis.call('DEL', KEYS[1])
  end
  forget_indexes(INDEXES)
  return -1
end
-- The last revision of the key that was told of; 0 if nobody knows.
local told = tonumber(held[5]) or held_revision or 0
local is_due = has_event and revision > told

if is_due and told < previous then
  local others, after = 0, tonumber(ARGV[10])
  if not after then
    -- A write that was committed within the time that writes take may be on its way here.
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    others = redis.call('ZCOUNT', KEYS[4], now, '+inf')
    if redis.call('ZSCORE', KEYS[4], ARGV[7]) then
      others = others - 1
    end
    after = others > 0 and (now - 5000) * 1000 or previous
  end
  if told > 0 or previous > after then
    if others > 0 and ARGV[11] == '1' then
      return -2
    end
    tell_of_gap(ARGV[TELL + 3], ARGV[3])
  end
end
is_over()

if held_revision and (held_revision > revision or (held_revision == revision and not held[2])) then
  if is_due then
    tell(TELL)
    if held_revision == revision then
      redis.call('HDEL', KEYS[1], 'told')
    else
      redis.call('HSET', KEYS[1], 'told', ARGV[1])
    end
  end
  return 0
elseif not held_revision and not held[4] and (held[3] or redis.call('EXISTS', KEYS[1]) == 0) then
  -- Something newer may have been here and gone. Without an entry nobody is misled; the
  -- indexes, which may lack this one, are built again. Leases that others have been given since
  -- are void: what they have read may be older than this.
  redis.call('DEL', KEYS[1])
  forget_indexes(INDEXES)
  if is_due then
    tell(TELL)
  end
  return -1
end

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, TELL + tonumber(ARGV[12])))
redis.call('EXPIRE', KEYS[1], ARGV[2])
change_indexes(INDEXES, tonumber(ARGV[4]), ARGV[3], ARGV[5], ARGV[6])
if is_due then
  tell(TELL)
elseif told < revision then
  -- Whoever publishes what was filled in here has still to tell of it.
  redis.call('HSET', KEYS[1], 'told', string.format('%.0f', told))
end

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
