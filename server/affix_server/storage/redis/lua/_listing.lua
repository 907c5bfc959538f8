-- What may be asked of a list, and how it is gone through. Prepended to page.lua and same_page.lua.
--
-- KEYS 1 index, 2 what will be gone; ARGV 1 offset, 2 what the keys listed begin with, 3 '1' for the newest first,
--      4 the time in ms: what is gone by then is not listed
local SCAN = 1000
local PREFIX, DESCENDING = ARGV[2], ARGV[3] == '1'
-- The mark of completeness is the first member, or in reverse the last.
local MARK = DESCENDING and 0 or 1

local function is_complete()
  for _, index in ipairs(KEYS) do
    local complete = redis.pcall('ZSCORE', index, '')
    if not complete or complete.err then
      return false
    end
  end
  return true
end

-- How many keys are in the index.
local function size()
  return redis.call('ZCARD', KEYS[1]) - 1
end

local function keys_from(first, last)
  return redis.call(DESCENDING and 'ZREVRANGE' or 'ZRANGE', KEYS[1], first + MARK, last + MARK)
end

-- What has expired by now and is still to be deleted, whatever its type.
local function expired()
  return redis.call('ZRANGEBYSCORE', KEYS[2], 0, ARGV[4])
end

-- Goes through all keys that begin with PREFIX and are not in `gone`; returns how many those are.
local function each_beginning(gone, visit)
  local all, count = size(), 0
  for start = 0, all - 1, SCAN do
    for _, key in ipairs(keys_from(start, math.min(start + SCAN, all) - 1)) do
      if string.sub(key, 1, #PREFIX) == PREFIX and not gone[key] then
        visit(key, count)
        count = count + 1
      end
    end
  end
  return count
end

