-- Asks for the right to put something where nothing is. Whoever reads Postgres in order to fill
-- Redis, or writes to it in order to publish (begin.lua), asks first; a publish, an eviction or a FLUSHALL
-- in between takes the lease away, and what comes late is not put in.
--
-- KEYS 1 entry or task; ARGV 1 a token of one's own, 2 TTL in seconds
-- Returns 1 if the lease was given, 0 if there is something to compare with.
-- A place with leases is a hash of the field `leases` and the tokens, and of nothing else.
local leases = redis.pcall('HGET', KEYS[1], 'leases')
if leases and leases.err then
  redis.call('DEL', KEYS[1])
elseif not leases and redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], 'leases', '1', ARGV[1], '1')
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
