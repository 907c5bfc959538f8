-- Reads a page of a list, if the index is complete.
--
-- KEYS and ARGV 1 to 4 as in _listing.lua; ARGV 5 limit, 6 prefix of the names of the entries,
--      7 '1' for summaries, 8 largest content to send along, in bytes
-- Returns nil if an index is not complete, else {total, key, entry, key, entry, ...} where an entry is what _read.lua says,
-- or of a summary the fields that are asked for, by place, and the size of the content, false if there is none.
local CONTENTS = { json = 'value', markdown = 'content', text = 'content', url = 'url' }
if not is_complete() then
  return nil
end
local all, wanted, limit = size(), tonumber(ARGV[5]), tonumber(ARGV[8])
-- Beyond 2^53 a Lua number is no place in a list any more; there is nothing there anyway.
local offset = math.min(tonumber(ARGV[1]), all)
local gone, places = {}, {}
for _, key in ipairs(expired()) do
  local rank = redis.call(DESCENDING and 'ZREVRANK' or 'ZRANK', KEYS[1], key)
  if rank then
    gone[key] = true
    places[#places + 1] = rank - MARK
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

local total, keys = all - #places, {}
if PREFIX == '' then
  local first = offset
  for _, place in ipairs(places) do
    if place <= first then
      first = first + 1
    end
  end
  local last = math.min(first + wanted + #places, all) - 1
  for _, key in ipairs(last < first and {} or keys_from(first, last)) do
    if not gone[key] and #keys < wanted then
      keys[#keys + 1] = key
    end
  end
else
  total = each_beginning(gone, function(key, place)
    if place >= offset and #keys < wanted then
      keys[#keys + 1] = key
    end
  end)
end
local page = { total }
for _, key in ipairs(keys) do
  page[#page + 1] = key
  page[#page + 1] = ARGV[7] == '1' and summary(ARGV[6] .. key) or read(ARGV[6] .. key, limit)
end
return page
