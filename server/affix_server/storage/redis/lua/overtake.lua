-- Drops what an index that is built from Postgres would contradict: entries that Postgres knows to have been deleted
-- since, tombstones of what has been created since, and leases by which the former could still be filled in. Whoever
-- committed those writes has not published them yet.
--
-- KEYS entries; ARGV for each: the revision that Postgres has, '1' if that is a deletion
for i, name in ipairs(KEYS) do
  local held = redis.pcall('HMGET', name, 'revision', 'deleted', 'pending')
  local is_deletion = ARGV[2 * i] == '1'
  if held.err then
    redis.call('UNLINK', name)
  elseif not held[3] and (tonumber(held[1]) or 0) < tonumber(ARGV[2 * i - 1]) and (is_deletion or held[2]) then
    redis.call('UNLINK', name)
  end
end
return 1
