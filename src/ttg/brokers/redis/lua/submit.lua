#!lua
-- Put tasks on the work queue.
-- KEYS[1] stream: tasks
-- ARGV    run id, identity and task (JSON) of each
for i = 1, #ARGV, 3 do
  redis.call('XADD', KEYS[1], '*', 'run', ARGV[i], 'identity', ARGV[i + 1], 'task', ARGV[i + 2])
end
