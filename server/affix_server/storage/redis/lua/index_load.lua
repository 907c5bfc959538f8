-- Adds what Postgres held to the indexes being built, without touching what was noted since.
--
-- KEYS the indexes: of all keys first, then of each type, last what will be gone
-- ARGV 1 the builder's token, 2 TTL in seconds of a complete index, 0 for none, 3 '1' if this is the last part,
--      4.. createdAt in ms, key, number of the type's index in KEYS (0: the key is gone), expiresAt in ms ('' for
--      never), and so on
-- Returns 1, or 0 if an index was lost meanwhile and building must begin again.
local building = {}
for i, index in ipairs(KEYS) do
  if redis.call('ZSCORE', index, ARGV[1]) then
    building[i] = { index, 'NX' }
  elseif not redis.call('ZSCORE', index, '') then
    return 0
  end
end
for at = 4, #ARGV, 4 do
  local of_type, expires_ms = tonumber(ARGV[at + 2]), ARGV[at + 3]
  for i, add in pairs(building) do
    local score = (i == 1 or i == of_type) and ARGV[at] or i == #KEYS and expires_ms ~= '' and expires_ms
    if of_type == 0 then
      score = '+inf'
    end
    if score then
      add[#add + 1] = score
      add[#add + 1] = ARGV[at + 1]
    end
  end
end
for _, add in pairs(building) do
  if #add > 2 then
    redis.call('ZADD', unpack(add))
  end
  if ARGV[3] == '1' then
    redis.call('ZREMRANGEBYSCORE', add[1], '+inf', '+inf')
    redis.call('ZREMRANGEBYSCORE', add[1], '-inf', '-inf')
    redis.call('ZADD', add[1], '-inf', '')
    if ARGV[2] == '0' then
      redis.call('PERSIST', add[1])
    else
      redis.call('EXPIRE', add[1], ARGV[2])
    end
  end
end
return 1
