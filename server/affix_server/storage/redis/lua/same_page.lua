-- Tells whether a page of a list begins and ends where it did, so that there are as many keys from one to the other.
--
-- KEYS and ARGV 1 to 4 as in _listing.lua; ARGV 5 limit, 6 the first key of the page, 7 the last, 8 how many there are
-- Returns how many keys are in the list, false if the page is another, or may be: page.lua tells.
if not is_complete() or #expired() > 0 then
  return false
end
local offset, count = tonumber(ARGV[1]), tonumber(ARGV[8])
local last = offset + count - 1
local total, ends = size(), {}
if PREFIX == '' then
  -- Not by their ranks, for which Redis would have to look up their scores first.
  ends = { keys_from(offset, offset)[1], keys_from(last, last)[1] }
else
  total = each_beginning({}, function(key, place)
    ends[1] = place == offset and key or ends[1]
    ends[2] = place == last and key or ends[2]
  end)
end
return ends[1] == ARGV[6] and ends[2] == ARGV[7] and count == math.min(tonumber(ARGV[5]), total - offset) and total
