-- Reads an entry, unless it is the one that the caller has.
--
-- KEYS 1 entry; ARGV 1 id, 2 revision, 3 updatedAt, 4 the field of its content, 5 the size of that in bytes
-- Returns 1 if it is; else what `read` does.
local held = redis.pcall('HMGET', KEYS[1], 'id', 'revision', 'updatedAt')
local same = not held.err and held[1] == ARGV[1] and held[2] == ARGV[2] and held[3] == ARGV[3]
if same and redis.call('HSTRLEN', KEYS[1], ARGV[4]) == tonumber(ARGV[5]) then
  return 1
end
return read(KEYS[1], math.huge)
