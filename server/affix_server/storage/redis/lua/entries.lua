-- Reads several hashes at once without ever building an answer that is too large.
--
-- KEYS the hashes; ARGV 1 largest content to send along, in bytes
-- Returns for each what _read.lua says.
local limit = tonumber(ARGV[1])
local found = {}
for i, name in ipairs(KEYS) do
  found[i] = read(name, limit)
end
return found
