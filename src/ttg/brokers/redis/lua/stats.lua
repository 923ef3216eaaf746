#!lua flags=no-writes,allow-oom
-- The sizes of all queues at one moment, and how many consumers work on them.
-- KEYS[1] stream: tasks  KEYS[2] sorted set: tasks.retry  KEYS[3] stream: tasks.dlq  KEYS[4] stream: results
-- KEYS[5] stream: events  KEYS[6] sorted set: workers.seen (consumer -> when it last asked for work or renewed, in ms)
-- ARGV[1] group   ARGV[2] consumers that were silent for so many ms do not count
-- Returns five sizes, the number of leased tasks, the number of consumers that are not silent.
local time = redis.call('TIME')
local since_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2])
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
return {
  redis.call('XLEN', KEYS[1]),
  redis.call('ZCARD', KEYS[2]),
  redis.call('XLEN', KEYS[3]),
  redis.call('XLEN', KEYS[4]),
  redis.call('XLEN', KEYS[5]),
  pending.err and 0 or pending[1],
  redis.call('ZCOUNT', KEYS[6], since_ms, '+inf'),
}
