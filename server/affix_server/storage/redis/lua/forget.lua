-- Drops what Redis holds of attachments and tasks, unless Postgres has not seen it.
--
-- KEYS entries, tasks and indexes; returns how many were dropped
local dropped = 0
for _, name in ipairs(KEYS) do
  local is_hash = redis.call('TYPE', name)['ok'] == 'hash'
  local keep = is_hash
    and (redis.call('HEXISTS', name, 'pending') == 1 or redis.call('EXISTS', name .. ':pending') == 1)
  if not keep then
    dropped = dropped + redis.call('UNLINK', name)
  end
end
return dropped
