#!lua flags=no-writes,allow-oom
-- The sizes of all queues at one moment, and how many consumers work on them.
-- KEYS[1] stream: tasks  KEYS[2] sorted set: tasks.retry  KEYS[3] stream: tasks.dlq  KEYS[4] stream: results
-- KEYS[5] stream: events  KEYS[6] hash: workers (consumer -> registration)
-- ARGV[1] group   ARGV[2] consumers that were silent for so many ms do not count
-- Returns five sizes, the number of leased tasks, the number of registered consumers that are not silent.
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])

local function is_active(info)
  local consumer = {}
  for i = 1, #info, 2 do
    consumer[info[i]] = info[i + 1]
  end
  return consumer.idle < tonumber(ARGV[2]) and redis.call('HEXISTS', KEYS[6], consumer.name) == 1
end

local active = 0
for _, info in ipairs(consumers.err and {} or consumers) do
  active = active + (is_active(info) and 1 or 0)
end
return {
  redis.call('XLEN', KEYS[1]),
  redis.call('ZCARD', KEYS[2]),
  redis.call('XLEN', KEYS[3]),
  redis.call('XLEN', KEYS[4]),
  redis.call('XLEN', KEYS[5]),
  pending.err and 0 or pending[1],
  active,
}
