#!lua
-- Make outcomes of leased tasks true, each only if the consumer still holds the task.
-- The server runs this script whole or, when it is out of memory, not at all (no allow-oom flag): nothing to roll back.
-- KEYS[1] stream: tasks    KEYS[2] sorted set: tasks.retry (identity and task; score: due time in ms)   KEYS[3] stream: tasks.dlq
-- KEYS[4] stream: results
-- ARGV[1] group   ARGV[2] consumer   ARGV[3] about how many dead letters to keep   then per settlement:
--   entry id, run id, identity, result header, result payload, retry delay in ms,
--   number of dead letters, of retries, of remaining tasks, then these as JSON
-- Returns 1 (settled) or 0 (not held any more, nothing recorded) per settlement.
local group, consumer = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function holds(id)
  local held = redis.pcall('XPENDING', KEYS[1], group, id, id, 1, consumer)
  if held.err and not string.find(held.err, 'NOGROUP') then
    error(held.err)
  end
  return not held.err and #held == 1
end

local function record(at, letters, retries, remainder)
  local run, identity, due_ms = ARGV[at + 1], ARGV[at + 2], string.format('%.0f', now_ms + ARGV[at + 5])
  redis.call('XADD', KEYS[4], '*', 'run', run, 'identity', identity, 'header', ARGV[at + 3], 'payload', ARGV[at + 4])
  local next = at + 9
  for i = next, next + letters - 1 do
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'run', run, 'identity', identity, 'letter', ARGV[i])
  end
  next = next + letters
  for i = next, next + retries - 1 do
    redis.call('ZADD', KEYS[2], due_ms, identity .. ' ' .. ARGV[i])
  end
  next = next + retries
  for i = next, next + remainder - 1 do
    redis.call('XADD', KEYS[1], '*', 'run', run, 'identity', identity, 'task', ARGV[i])
  end
  redis.call('XACK', KEYS[1], group, ARGV[at])
  redis.call('XDEL', KEYS[1], ARGV[at])
end

local settled, at = {}, 4
while at <= #ARGV do
  local letters, retries, remainder = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8])
  local mine = holds(ARGV[at])
  if mine then
    record(at, letters, retries, remainder)
  end
  settled[#settled + 1] = mine and 1 or 0
  at = at + 9 + letters + retries + remainder
end
return settled
