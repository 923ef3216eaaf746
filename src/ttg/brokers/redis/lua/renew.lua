#!lua flags=allow-oom
-- Prolong the leases that the consumer still holds: XCLAIM with JUSTID resets the idle time and counts no delivery.
-- KEYS[1] stream: tasks   KEYS[2] sorted set: workers.seen (consumer -> when it last asked for work or renewed, in ms)
-- ARGV[1] group   ARGV[2] consumer   ARGV[3…] entry ids
-- Returns the positions (0-based) of ids that are somebody else's, or gone.
local time = redis.call('TIME')
redis.pcall('ZADD', KEYS[2], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), ARGV[2])
local lost = {}
for i = 3, #ARGV do
  local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if held.err and not string.find(held.err, 'NOGROUP') then
    error(held.err)
  end
  if held.err or #held == 0 then
    lost[#lost + 1] = i - 3
  else
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  end
end
return lost
