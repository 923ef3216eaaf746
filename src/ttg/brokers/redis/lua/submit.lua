#!lua
-- Put tasks on the work queue.
-- KEYS[1] stream: tasks
-- ARGV    pairs of run id and task (JSON)
for i = 1, #ARGV, 2 do
  redis.call('XADD', KEYS[1], '*', 'run', ARGV[i], 'task', ARGV[i + 1])
end
