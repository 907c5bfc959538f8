-- How one entry is read where many are. Prepended to entries.lua and page.lua.

-- Returns the fields of hashes.READ by place, false for one that is not there; or the size of the content in bytes, if it
-- is larger than `limit`; or an empty list, if there is no hash, or one of leases.
local function read(name, limit)
  local fields = redis.pcall('HMGET', name, 'id', 'type', 'value', 'content', 'url', 'mimeType', 'size', 'createdBy',
    'createdAt', 'updatedAt', 'expiresAt', 'revision', 'deleted')
  if fields.err then
    return {}
  elseif not fields[1] and (redis.call('EXISTS', name) == 0 or redis.call('HEXISTS', name, 'leases') == 1) then
    return {}
  end
  local size = #(fields[3] or '') + #(fields[4] or '') + #(fields[5] or '')
  return size > limit and size or fields
end
