-- Takes an attachment off the list of what will be gone, unless it will be.
--
-- KEYS 1 entry; ARGV 1 its member of the list
local expires = redis.pcall('HGET', KEYS[1], 'expiresAt')
if not expires or expires.err then
  redis.call('ZREM', 'cb:expiring', ARGV[1])
end
return 1
