#!lua flags=allow-oom
-- Drop the oldest collected results of one run beyond the newest so many bytes of them; others' stay where they are.
-- Each entry says in 'run_bytes' how many bytes of its run were logged up to its end, so no size is ever added up.
-- KEYS[1] stream: results
-- ARGV[1] run   ARGV[2] id of the newest collected entry   ARGV[3] bytes to keep   ARGV[4] where to start (an id)
-- ARGV[5] how many entries to look at
-- Returns the id to start from next time, or '' when nothing is left to drop now.
local function fields_of(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do
    fields[entry[2][i]] = entry[2][i + 1]
  end
  return fields
end

local newest = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if not newest then
  return ''
end
local bound = (tonumber(fields_of(newest).run_bytes) or 0) - ARGV[3]
local entries = redis.call('XRANGE', KEYS[1], ARGV[4], ARGV[2], 'COUNT', ARGV[5])
for _, entry in ipairs(entries) do
  local fields = fields_of(entry)
  if fields.run == ARGV[1] then
    if (tonumber(fields.run_bytes) or 0) > bound then
      return ''
    end
    redis.call('XDEL', KEYS[1], entry[1])
  end
end
return #entries == tonumber(ARGV[5]) and entries[#entries][1] or ''
