-- What tells of a write: on the channel and the stream of its type, and on the one stream that watchers read.
-- Prepended to the scripts that make writes visible, so that an event is out exactly when its write is.

local WATCHED = 'cb:stream:attachments'
local KEPT = '100000'
-- How many arguments an event has: type, data, kind, taskId, key, id, attachment type, by, at in ms, revision.
local EVENT = 10

local function tell_of(type, data, kind, task_id, key, id, of_type, by, at, revision)
  -- One by one: to put them into a table first takes longer than to send them.
  redis.call('XADD', WATCHED, 'MAXLEN', '~', KEPT, '*', 'kind', kind, 'taskId', task_id, 'key', key, 'id', id,
    'type', of_type, 'by', by, 'at', at, 'revision', revision)
  redis.call('XADD', 'cb:stream:' .. type, 'MAXLEN', '~', KEPT, '*', 'data', data, 'revision', revision)
  redis.call('PUBLISH', type, data)
end

-- Tells of the event at a place among the script's arguments.
local function tell(first)
  tell_of(unpack(ARGV, first, first + EVENT - 1))
end

-- Says to the watchers of a key, or of a task, that an event is missing here and will not come.
local function tell_of_gap(task_id, key)
  redis.call('XADD', WATCHED, 'MAXLEN', '~', KEPT, '*', 'kind', 'gap', 'taskId', task_id, 'key', key)
end
