-- What put.lua, pend.lua and task_pend.lua do to the indexes of a task, of which names.py tells. Prepended to them.

local TYPES = { 'json', 'markdown', 'text', 'url', 'binary' }

-- Returns the names of all indexes of a task: of all keys first, last what will be gone, by when.
local function indexes_of(task)
  local all = task .. ':attachments'
  local names = { all }
  for i, type in ipairs(TYPES) do
    names[i + 1] = all .. ':' .. type
  end
  names[#names + 1] = all .. ':expiring'
  return names
end

local function forget_indexes(task)
  redis.call('DEL', unpack(indexes_of(task)))
end

-- Keeps the indexes that are whole for as long as it takes: of what is pending nothing is to be forgotten.
local function keep_indexes(task)
  for _, index in ipairs(indexes_of(task)) do
    if redis.call('ZSCORE', index, '') then
      redis.call('PERSIST', index)
    end
  end
end

-- Notes that a key is in an index; tells whether that is whole and lacked it.
local function note(index, score, key)
  local complete = redis.pcall('ZSCORE', index, '')
  if complete and complete.err then
    redis.call('DEL', index)
  elseif complete or redis.call('EXISTS', index) == 1 then
    return redis.call('ZADD', index, score, key) == 1 and complete
  end
  return false
end

-- Notes that a key is not in an index.
local function note_absence(index, key)
  local complete = redis.pcall('ZSCORE', index, '')
  if complete and complete.err then
    redis.call('DEL', index)
  elseif complete then
    redis.call('ZREM', index, key)
  elseif redis.call('EXISTS', index) == 1 then
    -- Being built: note that the key is gone, whatever the builder read before.
    redis.call('ZADD', index, '+inf', key)
  end
end

-- Notes that `key` is now in the index of all keys, in that of its type, in the last one if it expires, and in no other;
-- in none, if the type is ''. `expires_ms` is '' for never. Where Postgres had nothing under it (`is_new`), and the
-- index of all keys is whole and lacked it, no other index needs to hear that it is not in there.
local function change_indexes(task, of_type, key, created_ms, expires_ms, is_new)
  local all = task .. ':attachments'
  if of_type == '' then
    note_absence(all, key)
  else
    is_new = note(all, created_ms, key) and is_new
  end
  for _, type in ipairs(TYPES) do
    if type == of_type then
      note(all .. ':' .. type, created_ms, key)
    elseif not is_new then
      note_absence(all .. ':' .. type, key)
    end
  end
  if expires_ms ~= '' then
    note(all .. ':expiring', expires_ms, key)
  elseif not is_new then
    note_absence(all .. ':expiring', key)
  end
end
