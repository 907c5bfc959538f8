-- Begins a write on its way to Postgres: says so to whoever would decide about this key without Postgres
-- (pend.lua), and asks for a lease to publish with (lease.lua).
--
-- KEYS 1 entry or task, 2 writes of the key under way, 3 the task
-- ARGV 1 token of the write, 2 TTL of the lease in seconds, 3 how long the write takes at most, in ms
-- Returns {1 if Postgres has not seen what is there, or has not seen the task as it is, 0 otherwise; the revision of
--      what is there, '' if there is none}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])

local task = redis.pcall('HEXISTS', KEYS[3], 'pending')
local pending = task == 1 and 1 or 0
local leases = redis.pcall('HGET', KEYS[1], 'leases')
if leases and leases.err then
  redis.call('DEL', KEYS[1])
elseif not leases and redis.call('EXISTS', KEYS[1]) == 1 then
  return { math.max(pending, redis.call('HEXISTS', KEYS[1], 'pending')), redis.call('HGET', KEYS[1], 'revision') or '' }
end
redis.call('HSET', KEYS[1], 'leases', '1', ARGV[1], '1')
redis.call('EXPIRE', KEYS[1], ARGV[2])
return { pending, '' }
