#!lua
-- What any consumer owes the others, done by at most one of them per pause: promote due retries, look for silent owners.
-- KEYS[1] string: maintenance (exists while somebody did it just now)   KEYS[2] stream: tasks
-- KEYS[3] sorted set: tasks.retry (identity and task; score: due time in ms)   KEYS[4] hash: workers (consumer -> registration)
-- KEYS[5] sorted set: workers.seen (consumer -> when it last asked for work or renewed, in ms)
-- ARGV[1] pause in ms   ARGV[2] group   ARGV[3] lease in ms   ARGV[4] at most so many tasks of each kind
-- ARGV[5] the consumer that asks
-- Returns nil (not now), or the owners whose lease on some task ran out, and the registrations as a flat list.
local time = redis.call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('ZADD', KEYS[5], now_ms, ARGV[5])
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then
  return false
end

for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now_ms, 'LIMIT', 0, ARGV[4])) do
  local identity, task = string.match(member, '^(%w*) (.*)$')
  local run = string.match(member, '^%w* {"run":"(.-)"') or ''
  redis.call('XADD', KEYS[2], '*', 'run', run, 'identity', identity or '', 'task', task or member)
  redis.call('ZREM', KEYS[3], member)
end

local silent, seen = {}, {}
local pending = redis.pcall('XPENDING', KEYS[2], ARGV[2], 'IDLE', ARGV[3], '-', '+', ARGV[4])
if pending.err and not string.find(pending.err, 'NOGROUP') then
  error(pending.err)
end
for _, item in ipairs(pending.err and {} or pending) do
  if not seen[item[2]] then
    seen[item[2]] = true
    silent[#silent + 1] = item[2]
  end
end
return {silent, redis.call('HGETALL', KEYS[4])}
