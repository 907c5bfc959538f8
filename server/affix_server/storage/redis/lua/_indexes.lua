-- What put.lua and pend.lua do to the indexes of a task, which are KEYS[first] (all keys), those behind
-- it (one a type), and the last (what will be gone, by when). Prepended to both.

local function forget_indexes(first)
  for i = first, #KEYS do
    redis.call('DEL', KEYS[i])
  end
end

-- Notes that `key` is now in the index at KEYS[of_type] and in that of all keys, in the last one if it expires, and in
-- no other; in none, if of_type is 0. `expires_ms` is '' for never.
local function change_indexes(first, of_type, key, created_ms, expires_ms)
  for i = first, #KEYS do
    local score = (i == first or i == of_type) and created_ms or i == #KEYS and expires_ms ~= '' and expires_ms
    local complete = redis.pcall('ZSCORE', KEYS[i], '')
    if complete and complete.err then
      redis.call('DEL', KEYS[i])
    elseif of_type > 0 and score then
      if complete or redis.call('EXISTS', KEYS[i]) == 1 then
        redis.call('ZADD', KEYS[i], score, key)
      end
    elseif complete then
      redis.call('ZREM', KEYS[i], key)
    elseif redis.call('EXISTS', KEYS[i]) == 1 then
      -- Being built: note that the key is gone, whatever the builder read before.
      redis.call('ZADD', KEYS[i], '+inf', key)
    end
  end
end
