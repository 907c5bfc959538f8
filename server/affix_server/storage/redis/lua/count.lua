-- Adds what a process has counted, once however often it is sent.
-- KEYS: the counts, those by type, the number of the last addition of this process
-- ARGV: the number of this addition, how many seconds to remember it, how many counts, these, those by type
-- Returns 1, or 0 if it has been added before.
if tonumber(redis.call('GET', KEYS[3]) or 0) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])
local by_type = 4 + 2 * tonumber(ARGV[3])
for i = 4, #ARGV, 2 do
  redis.call('HINCRBY', i < by_type and KEYS[1] or KEYS[2], ARGV[i], ARGV[i + 1])
end
return 1
