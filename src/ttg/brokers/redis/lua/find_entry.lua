#!lua flags=no-writes,allow-oom
-- The first entry of a log at or behind an id; if there is none, the newest. Without the payload.
-- KEYS[1] stream   ARGV[1] id
-- Returns its id and the SHA-1 of its other values; two empty texts if the log is empty.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', 1)[1]
  or redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not found then
  return {'', ''}
end
local values = {}
for i = 2, #found[2], 2 do
  if found[2][i - 1] ~= 'payload' then
    values[#values + 1] = found[2][i]
  end
end
return {found[1], redis.sha1hex(table.concat(values))}
