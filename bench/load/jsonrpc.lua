-- For wrk: rotates JSON-RPC requests and looks at every answer.
--
--   wrk -t1 … -s jsonrpc.lua URL -- BODIES PAUSE_MS LEAST MOST
--
-- BODIES is a file with a request body a line, sent one after the other and over again. After each answer a
-- connection waits between 0 and twice PAUSE_MS. An answer is right when its status is 200 and its body holds a
-- result and is between LEAST and MOST bytes long. Where LEAST is more than 100,000, taking each body into Lua would cost
-- more than serving it: then all answers together must be as long as they have to be. Prints one JSON object.

local requests, at, pause = {}, 0, 0
local find, random = string.find, math.random
local threads = {}
local UNFINISHED, HEADERS = 64, 1000
-- Global, since `done` reads them from outside of the thread.
wrong, smallest, largest, bytes, least, most = 0, math.huge, 0, 0, 0, 0

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local headers = { ["Content-Type"] = "application/json" }
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, headers, line)
  end
  pause, least, most = tonumber(args[2]), tonumber(args[3]), tonumber(args[4])
  if least > 100000 then
    response = nil
  end
  if pause > 0 then
    delay = function() return random(0, 2 * pause) end
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function response(status, _, body)
  local length = #body
  bytes = bytes + length
  if length < smallest then smallest = length end
  if length > largest then largest = length end
  if status ~= 200 or length < least or length > most or not find(body, '"result":', 1, true) then
    wrong = wrong + 1
  end
end

function done(summary, latency)
  local errors = summary.errors
  local thread = threads[1]
  local wrong = thread:get("wrong") + errors.connect + errors.read + errors.write + errors.timeout
  local bytes, smallest, largest = thread:get("bytes"), thread:get("smallest"), thread:get("largest")
  if thread:get("least") > 100000 then
    -- What was read of answers that were not complete at the end is among the bytes, and so are headers.
    bytes = summary.bytes
    local each = bytes / summary.requests
    smallest, largest = each, each
    local most = (summary.requests + UNFINISHED) * (thread:get("most") + HEADERS)
    wrong = wrong + errors.status
    if bytes < summary.requests * thread:get("least") or bytes > most then
      wrong = wrong + summary.requests
    end
  end
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "wrong": %d, "bytes": %d, "least": %d, "most": %d, ' ..
    '"p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6,
    wrong, bytes, math.min(smallest, 2 ^ 31), largest,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
