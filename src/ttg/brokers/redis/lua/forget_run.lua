#!lua flags=allow-oom
-- Remove the record of a run, unless its id belongs to another one by now, and its specification.
-- KEYS[1] hash: runs (run -> record)   KEYS[2] hash: runs.specs (identity -> specification)
-- ARGV[1] run   ARGV[2] identity   ARGV[3] '1': only count
-- Returns 1 if there is such a record.
local body = redis.call('HGET', KEYS[1], ARGV[1])
local mine = body and (cjson.decode(body).identity or '') == ARGV[2]
if ARGV[3] ~= '1' then
  if mine then
    redis.call('HDEL', KEYS[1], ARGV[1])
  end
  redis.call('HDEL', KEYS[2], ARGV[2])
end
return mine and 1 or 0
