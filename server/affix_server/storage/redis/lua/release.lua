-- Gives a lease back when there turned out to be nothing to put in.
--
-- KEYS 1 entry or task; ARGV 1 the token
if redis.call('TYPE', KEYS[1])['ok'] == 'hash' and redis.call('HDEL', KEYS[1], ARGV[1]) == 1
  and redis.call('HLEN', KEYS[1]) == 1 then
  redis.call('DEL', KEYS[1])
end
return 1
