-- Drops entries of a deleted task, and leases on their places; not what was written after the deletion.
--
-- KEYS entries; ARGV 1 revision of the deletion
for _, name in ipairs(KEYS) do
  local held = redis.pcall('HGET', name, 'revision')
  if held and held.err or (tonumber(held) or 0) <= tonumber(ARGV[1]) then
    redis.call('UNLINK', name)
  end
end
return 1
