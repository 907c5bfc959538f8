-- How one entry is read where many are. Prepended to entries.lua and page.lua.

-- Returns the fields of hashes.READ by place, false for one that is not there, and only the first of them if there is a
-- content among these; or the size of the content in bytes, if it is larger than `limit`; or an empty list for what is
-- not a hash.
local function read(name, limit)
  local fields = redis.pcall('HMGET', name, 'id', 'type', 'value', 'content', 'createdBy', 'createdAt', 'updatedAt',
    'expiresAt', 'revision', 'pending')
  if fields.err then
    return {}
  end
  if not (fields[3] or fields[4]) then
    for _, value in ipairs(redis.call('HMGET', name, 'url', 'mimeType', 'size', 'deleted')) do
      fields[#fields + 1] = value
    end
    local url = fields[11]
    return url and #url > limit and #url or fields
  end
  local size = #(fields[3] or '') + #(fields[4] or '')
  return size > limit and size or fields
end
