-- Publishes attachments or tombstones as Postgres has them, each unless Redis holds something newer, keeps the indexes
-- right, and tells of it if nobody has. A cache fill is the same step without an event: what a reader saw in
-- Postgres must not be missing from a list read after it.
--
-- KEYS 1 traces
-- ARGV 1 '1' to wait for what is to be told of before, then for each: what publishing.py packs, the content
-- Returns for each 1 if published; 0 if something as new is there; -1 if nothing is there and no lease
--      says that nothing was all the while; -2 if it is too early, and nothing has been done.
local WAITS = ARGV[1] == '1'
local over = {}

local function is_over(trace)
  if trace ~= '' then
    over[#over + 1] = trace
  end
end

-- The last pending write of a task is settled: from now on it may be forgotten like any other.
local function settle(task, key, ttl)
  if redis.call('SREM', task .. ':pending', key) == 1 and redis.call('EXISTS', task .. ':pending') == 0 then
    for _, index in ipairs(indexes_of(task)) do
      redis.call('EXPIRE', index, ttl)
    end
    if redis.pcall('HEXISTS', task, 'pending') ~= 1 then
      redis.call('EXPIRE', task, ttl)
    end
  end
end

-- `of_type` is '' for a tombstone, `expires_ms` for never, `trace` where nothing began, `event` where none is to be told
-- of. `token` is of a lease; `previous` the revision that this one replaced. A write after `told_until` counts as not told of
-- where Redis does not know; nil for one that may still be on its way here. The rest is fields of the entry.
local function publish(content, task_id, key, id, of_type, revision, created_ms, expires_ms, ttl, token, trace, previous,
    told_until, event, data, kind, by, at, content_name, ...)
  local name = 'cb:task:' .. task_id
  local entry = name .. ':attachment:' .. key

  -- The tombstone of a task outlives every request that was under way when it was deleted, and nothing
  -- that is left of its attachments is to be seen. One that Postgres has not seen is later than all that Postgres has.
  -- The task's own event has told of their end.
  local task = redis.pcall('HMGET', name, 'deleted', 'emptied')
  if task[1] then
    local of_task = redis.call('HMGET', name, 'revision', 'pending')
    local gone = of_task[2] and math.huge or tonumber(of_task[1]) or 0
    if gone >= revision then
      is_over(trace)
      local left = redis.pcall('HGET', entry, 'revision')
      if left and left.err or (tonumber(left) or 0) <= gone then
        redis.call('DEL', entry)
        redis.call('SREM', name .. ':pending', key)
      end
      return 0
    end
  end

  local held = redis.pcall('HMGET', entry, 'revision', 'pending', 'leases', token, 'told')
  local is_strange = held.err
  local held_revision = tonumber(held[1])
  -- A task was registered in the place of a deleted one, and Postgres may not know: what it has may have hung on that,
  -- whose event has told of its end.
  if task[2] and not task[1] and not (held_revision == revision and held[2]) then
    is_over(trace)
    if not held_revision then
      redis.call('DEL', entry)
    end
    forget_indexes(name)
    return -1
  end
  -- The last revision of the key that was told of; 0 if nobody knows.
  local told = tonumber(held[5]) or held_revision or 0
  local is_due = event ~= '' and revision > told

  if is_due and told < previous then
    -- A write that was committed within the time that writes take may be on its way here.
    local recent = told_until or (now_ms() - 5000) * 1000
    if told > 0 or previous > recent then
      local others = told_until and 0 or count_under_way(name, key, trace)
      if others > 0 and WAITS then
        return -2
      end
      if told > 0 or others > 0 or told_until then
        tell_of_gap(task_id, key)
      end
    end
  end
  is_over(trace)

  local result = 1
  if held_revision and (held_revision > revision or (held_revision == revision and not held[2])) then
    result = 0
    if is_due and held_revision == revision then
      redis.call('HDEL', entry, 'told')
    elseif is_due then
      redis.call('HSET', entry, 'told', string.format('%.0f', revision))
    end
  elseif is_strange or not held_revision and not held[4] and (held[3] or redis.call('EXISTS', entry) == 0) then
    -- Something newer may have been here and gone. Without an entry nobody is misled; the
    -- indexes, which may lack this one, are built again. Leases that others have been given since
    -- are void: what they have read may be older than this.
    result = -1
    redis.call('DEL', entry)
    forget_indexes(name)
  else
    redis.call('DEL', entry)
    if of_type == '' then
      redis.call('HSET', entry, ...)
    else
      redis.call('HSET', entry, 'id', id, 'taskId', task_id, 'key', key, 'type', of_type, content_name, content, ...)
    end
    redis.call('EXPIRE', entry, ttl)
    -- Neither Postgres nor Redis had anything: it is not pending, either.
    local is_new = previous == 0 and held[4]
    change_indexes(name, of_type, key, created_ms, expires_ms, is_new)
    if not is_due and told < revision then
      -- Whoever publishes what was filled in here has still to tell of it.
      redis.call('HSET', entry, 'told', string.format('%.0f', told))
    end
    if not is_new then
      settle(name, key, ttl)
    end
  end
  if is_due then
    tell_of(event, data, kind, task_id, key, id, of_type, by, at, revision)
  end
  return result
end

local results = {}
for i = 2, #ARGV, 2 do
  results[#results + 1] = publish(ARGV[i + 1], cmsgpack.unpack(ARGV[i]))
end
if #over > 0 then
  redis.call('ZREM', UNDER_WAY, unpack(over))
  redis.call('ZREM', KEYS[1], unpack(over))
end
return results
