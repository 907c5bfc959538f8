-- Finds where the stream that watchers read ends at this moment. It is never empty for a watcher, so that a place
-- in it always is an entry, and an entry that is missing says that something was lost.
--
-- KEYS 1 the stream
-- Returns the id of its last entry.
local last = redis.pcall('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if last.err then
  redis.call('DEL', KEYS[1])
  last = {}
end
if #last == 0 then
  return redis.call('XADD', KEYS[1], '*', 'kind', 'marker')
end
return last[1][1]
