-- Reads a page of a list, if the index is complete.
--
-- KEYS 1 index, 2 what will be gone; ARGV 1 offset, 2 limit, 3 what the keys listed begin with, 4 '1' for the newest first,
--      5 the time in ms: what is gone by then is not listed, 6 prefix of the names of the entries,
--      7 what to tell of an entry: 'whole', 'summary' or 'revision', 8 largest content to send along, in bytes
-- Returns nil if an index is not complete, else {total, key, entry, key, entry, ...} where an entry is, whole, what _read.lua
-- says; its revision, false if there is none; or the fields that `summary` asks for, by place, and the size of the content,
-- false if there is none.
local CONTENTS = { json = 'value', markdown = 'content', text = 'content', url = 'url' }
local SCAN = 1000
for _, index in ipairs(KEYS) do
  local complete = redis.pcall('ZSCORE', index, '')
  if not complete or complete.err then
    return nil
  end
end
local told, limit = ARGV[7], tonumber(ARGV[8])
local prefix = ARGV[3]
local range = ARGV[4] == '1' and 'ZREVRANGE' or 'ZRANGE'
-- The mark of completeness is the first member, or in reverse the last.
local mark = ARGV[4] == '1' and 0 or 1
local all = redis.call('ZCARD', KEYS[1]) - 1
-- What has expired and is still to be deleted: its places in the index, and its keys.
local gone, places = {}, {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], 0, ARGV[5])) do
  local place = redis.call(ARGV[4] == '1' and 'ZREVRANK' or 'ZRANK', KEYS[1], key)
  if place then
    gone[key] = true
    places[#places + 1] = place
  end
end
table.sort(places)

local function summary(name)
  local fields = redis.pcall('HMGET', name, 'id', 'type', 'mimeType', 'size', 'createdBy', 'createdAt', 'updatedAt',
    'expiresAt', 'revision', 'deleted')
  if fields.err then
    return {}
  end
  local content = CONTENTS[fields[2]]
  local size = content and redis.call('HSTRLEN', name, content)
  fields[#fields + 1] = content and (size > 0 or redis.call('HEXISTS', name, content) == 1) and size or false
  return fields
end

local function entry(name)
  if told == 'whole' then
    return read(name, limit)
  elseif told == 'summary' then
    return summary(name)
  end
  local revision = redis.pcall('HGET', name, 'revision')
  return type(revision) == 'string' and revision
end

-- Beyond 2^53 a Lua number is no place in a list any more; there is nothing there anyway.
local offset, wanted = math.min(tonumber(ARGV[1]), all), tonumber(ARGV[2])
local total, keys = all - #places, {}
if prefix == '' then
  local first = offset + mark
  for _, place in ipairs(places) do
    if place <= first then
      first = first + 1
    end
  end
  local last = math.min(first + wanted + #places, all + mark) - 1
  for _, key in ipairs(last < first and {} or redis.call(range, KEYS[1], first, last)) do
    if not gone[key] and #keys < wanted then
      keys[#keys + 1] = key
    end
  end
else
  total = 0
  for start = 0, all - 1, SCAN do
    for _, key in ipairs(redis.call(range, KEYS[1], start + mark, math.min(start + SCAN, all) - 1 + mark)) do
      if string.sub(key, 1, #prefix) == prefix and not gone[key] then
        if total >= offset and #keys < wanted then
          keys[#keys + 1] = key
        end
        total = total + 1
      end
    end
  end
end
local page = { total }
for _, key in ipairs(keys) do
  page[#page + 1] = key
  page[#page + 1] = entry(ARGV[6] .. key)
end
return page
