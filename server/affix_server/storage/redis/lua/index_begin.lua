-- Begins to build the indexes of a task that are not complete. From now until `index_load` says
-- it is the last, put.lua notes every change in them, so that what is written meanwhile is kept.
--
-- KEYS the indexes; ARGV 1 the builder's token, 2 TTL in seconds of an unfinished index
-- Several builders may be at it: each has its token among the members, at -inf like the mark
-- of completeness. Nothing but a builder's token is ever at -inf in an incomplete index.
for _, index in ipairs(KEYS) do
  local complete = redis.pcall('ZSCORE', index, '')
  if complete and complete.err then
    redis.call('DEL', index)
    complete = false
  end
  if not complete then
    if redis.call('ZCOUNT', index, '-inf', '-inf') == 0 then
      redis.call('DEL', index)
    end
    redis.call('ZADD', index, '-inf', ARGV[1])
    redis.call('EXPIRE', index, ARGV[2])
  end
end
return 1
