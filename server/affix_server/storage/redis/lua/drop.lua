-- Drops an entry that is not whole, unless it has been replaced since it was read.
--
-- KEYS 1 entry or task; ARGV 1 the revision it was read with, '' if it had none
local held = redis.pcall('HGET', KEYS[1], 'revision')
if (held and held.err) or (held or '') == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
