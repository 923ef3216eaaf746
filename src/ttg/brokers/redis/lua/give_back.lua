#!lua
-- Put leased tasks of one consumer back on the work queue, as fresh entries that any consumer gets at once.
-- Serves a release by the owner, its goodbye, and the takeover from a dead or silent owner.
-- KEYS[1] stream: tasks   KEYS[2] hash: workers (consumer -> registration of its connection)
-- KEYS[3] sorted set: workers.seen (consumer -> when it last asked for work or renewed, in ms)
-- ARGV[1] group   ARGV[2] owner   ARGV[3] only entries idle for so many ms   ARGV[4] at most so many
-- ARGV[5] only while the owner's registration is this ('' any)   ARGV[6] '1': forget the owner when nothing is left
-- ARGV[7…] entry ids (none: whatever the owner holds)
-- Returns how many went back, and the longest idle time among them in ms.
local group, owner = ARGV[1], ARGV[2]
if ARGV[5] ~= '' and redis.call('HGET', KEYS[2], owner) ~= ARGV[5] then
  return {0, 0}
end

local function held(from, to, count)
  local pending = redis.pcall('XPENDING', KEYS[1], group, 'IDLE', ARGV[3], from, to, count, owner)
  return pending.err and {} or pending
end

local function requeue(id)
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if entry then
    local old = {}
    for i = 1, #entry[2], 2 do
      old[entry[2][i]] = entry[2][i + 1]
    end
    local deliveries = (tonumber(old.deliveries) or 0) + 1
    redis.call('XADD', KEYS[1], '*', 'run', old.run or '', 'identity', old.identity or '',
      'task', old.task or '', 'deliveries', deliveries)
  end
  redis.call('XACK', KEYS[1], group, id)
  redis.call('XDEL', KEYS[1], id)
end

local count, longest_ms = 0, 0
local function requeue_all(pending)
  for _, item in ipairs(pending) do
    requeue(item[1])
    count, longest_ms = count + 1, math.max(longest_ms, item[3])
  end
end

if #ARGV == 6 then
  requeue_all(held('-', '+', ARGV[4]))
else
  for i = 7, #ARGV do
    requeue_all(held(ARGV[i], ARGV[i], 1))
  end
end
-- Deleting a consumer drops what it holds: only one that holds nothing at all, however fresh, is deleted.
local left = redis.pcall('XPENDING', KEYS[1], group, '-', '+', 1, owner)
if ARGV[6] == '1' and (left.err or #left == 0) then
  redis.pcall('XGROUP', 'DELCONSUMER', KEYS[1], group, owner)
  redis.call('HDEL', KEYS[2], owner)
  redis.call('ZREM', KEYS[3], owner)
end
return {count, longest_ms}
