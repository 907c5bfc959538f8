-- Reads several hashes at once without ever building an answer that is too large.
--
-- KEYS the hashes; ARGV 1 largest content to send along, in bytes
-- Returns for each: its HGETALL, or its size in bytes if that is larger, or
-- an empty list if there is none (or none that is a hash).
local limit = tonumber(ARGV[1])
local found = {}
for i, name in ipairs(KEYS) do
  local entry = redis.pcall('HGETALL', name)
  if entry.err then
    entry = {}
  end
  local size = 0
  for j = 2, #entry, 2 do
    size = size + #entry[j]
  end
  if size > limit then
    found[i] = size
  else
    found[i] = entry
  end
end
return found
