-- How one entry is read where many are. Prepended to entries.lua and page.lua.

-- Returns the fields of hashes.READ by place, false for one that is not there; or the size of the content in bytes, if it
-- is larger than `limit`; or an empty list for what is not a hash.
local function read(name, limit)
  local fields = redis.pcall('HMGET', name, 'id', 'type', 'value', 'content', 'url', 'mimeType', 'size', 'createdBy',
    'createdAt', 'updatedAt', 'expiresAt', 'revision', 'deleted')
  if fields.err then
    return {}
  end
  local size = #(fields[3] or '') + #(fields[4] or '') + #(fields[5] or '')
  return size > limit and size or fields
end
