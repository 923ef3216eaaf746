#!lua flags=allow-oom
-- Count, and unless it is a dry run remove, the entries of one run in one page of a stream.
-- KEYS[1] stream
-- ARGV[1] identity   ARGV[2] where to start ('-' or '(' and an id)   ARGV[3] entries per page   ARGV[4] '1': only count
-- ARGV[5] group in which to acknowledge them ('' none)
-- Returns the count, and where the next page starts ('' there is none).
local entries = redis.call('XRANGE', KEYS[1], ARGV[2], '+', 'COUNT', ARGV[3])

local function is_of_run(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'identity' then
      return fields[i + 1] == ARGV[1]
    end
  end
  return false
end

local count = 0
for _, entry in ipairs(entries) do
  if is_of_run(entry[2]) then
    count = count + 1
    if ARGV[4] ~= '1' then
      if ARGV[5] ~= '' then
        redis.pcall('XACK', KEYS[1], ARGV[5], entry[1])
      end
      redis.call('XDEL', KEYS[1], entry[1])
    end
  end
end
return {count, #entries == tonumber(ARGV[3]) and '(' .. entries[#entries][1] or ''}
