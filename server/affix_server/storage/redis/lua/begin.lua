-- Begins writes on their way to Postgres: leaves their traces, says so to whoever would decide about these keys without
-- Postgres (_under_way.lua), and asks for leases to publish with (lease.lua).
--
-- KEYS 1 traces, then for each write: its entry or task, the task
-- ARGV 1 TTL of a lease in seconds, 2 how long a write takes at most, in ms, then for each write: its trace, its token
-- Returns for each nil if nothing is there and Postgres has seen the task as it is, else {1 if Postgres has not seen what
--      is there, or has not seen the task as it is, 0 otherwise; the revision of what is there, '' if there is none}
local now = now_ms()
local traces, ends = {}, {}
for i = 3, #ARGV, 2 do
  traces[i - 2], traces[i - 1] = now, ARGV[i]
  ends[i - 2], ends[i - 1] = now + ARGV[2], ARGV[i]
end
redis.call('ZADD', KEYS[1], unpack(traces))
redis.call('ZREMRANGEBYSCORE', UNDER_WAY, '-inf', now)
redis.call('ZADD', UNDER_WAY, unpack(ends))

local function begin(place, task, token)
  local pending = redis.pcall('HEXISTS', task, 'pending') == 1
  if redis.pcall('HLEN', place) ~= 0 then
    local held = redis.pcall('HMGET', place, 'leases', 'revision', 'pending')
    if held.err then
      redis.call('DEL', place)
    elseif not held[1] then
      return { (pending or held[3]) and 1 or 0, held[2] or '' }
    end
  end
  redis.call('HSET', place, 'leases', '1', token, '1')
  redis.call('EXPIRE', place, ARGV[1])
  return pending and { 1, '' }
end

local begun = {}
for i = 1, (#ARGV - 2) / 2 do
  begun[i] = begin(KEYS[2 * i], KEYS[2 * i + 1], ARGV[2 * i + 2])
end
return begun
