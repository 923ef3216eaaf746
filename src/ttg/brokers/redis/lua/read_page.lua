#!lua flags=no-writes,allow-oom
-- A page of a stream: the entries behind a place, oldest first, until they are so many or so large together.
-- One by one, for their size is not known before; whatever its size, the first one is in the page.
-- KEYS[1] stream
-- ARGV[1] id behind which to begin   ARGV[2] most entries   ARGV[3] most bytes
local page, size, last = {}, 0, ARGV[1]
local count, bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
while #page < count and size < bytes do
  local entry = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
  if not entry then
    break
  end
  page[#page + 1], last = entry, entry[1]
  for _, word in ipairs(entry[2]) do
    size = size + #word
  end
end
return page
