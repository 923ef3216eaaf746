#!lua flags=allow-oom
-- Count, and unless it is a dry run remove, the waiting retries of one run.
-- KEYS[1] sorted set: tasks.retry
-- ARGV[1] how the members of the run start   ARGV[2] '1': only count
local count = 0
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(member, 1, #ARGV[1]) == ARGV[1] then
    count = count + 1
    if ARGV[2] ~= '1' then
      redis.call('ZREM', KEYS[1], member)
    end
  end
end
return count
