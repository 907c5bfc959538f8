-- Reads a page of a list, if the index is complete.
--
-- KEYS 1 index; ARGV 1 offset, 2 limit, 3 prefix of the names of the entries,
--      4 largest content to send along, in bytes
-- Returns nil if the index is not complete, else {total, key, entry, key, entry, ...} where an
-- entry is its HGETALL, its size in bytes if that is larger, or an empty list if it has expired.
local complete = redis.pcall('ZSCORE', KEYS[1], '')
if not complete or complete.err then
  return nil
end
local limit = tonumber(ARGV[4])
local total = redis.call('ZCARD', KEYS[1]) - 1
local page = { total }
-- Beyond 2^53 a Lua number is no place in a list any more; there is nothing there anyway.
local first = math.min(tonumber(ARGV[1]), total) + 1
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], first, first + tonumber(ARGV[2]) - 1)) do
  local entry = redis.pcall('HGETALL', ARGV[3] .. key)
  if entry.err then
    entry = {}
  end
  local size = 0
  for j = 2, #entry, 2 do
    size = size + #entry[j]
  end
  page[#page + 1] = key
  page[#page + 1] = size > limit and size or entry
end
return page
