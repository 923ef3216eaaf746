#!lua flags=allow-oom
-- Prolong the leases that the consumer still holds: XCLAIM with JUSTID resets the idle time and counts no delivery.
-- KEYS[1] stream: tasks
-- ARGV[1] group   ARGV[2] consumer   ARGV[3…] entry ids
-- Returns the positions (0-based) of ids that are somebody else's, or gone.
local lost = {}
for i = 3, #ARGV do
  local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if held.err or #held == 0 then
    lost[#lost + 1] = i - 3
  else
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  end
end
return lost
