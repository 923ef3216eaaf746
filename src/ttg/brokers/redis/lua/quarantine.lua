#!lua
-- Move a leased message that is no task to the dead letters, with its first fields as they are.
-- KEYS[1] stream: tasks   KEYS[2] stream: tasks.dlq
-- ARGV[1] group   ARGV[2] entry id   ARGV[3] reason
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if entry then
  redis.call('XADD', KEYS[2], '*', 'quarantine', ARGV[3], unpack(entry[2], 1, math.min(#entry[2], 32)))
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
