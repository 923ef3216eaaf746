#!lua flags=allow-oom
-- Remove the record of a run and its specification, unless its id belongs to another one by now.
-- KEYS[1] hash: runs (run -> record)   KEYS[2] hash: runs.specs (identity -> specification)
-- ARGV[1] run   ARGV[2] identity   ARGV[3] '1': only count   ARGV[4] only at this revision ('' any)
-- Returns 1 if there is such a record.
local body = redis.call('HGET', KEYS[1], ARGV[1])
local record = body and cjson.decode(body) or {}
local mine = body and (record.identity or '') == ARGV[2]
if mine and ARGV[4] ~= '' and (record.revision or 0) ~= tonumber(ARGV[4]) then
  return 0
end
if mine and ARGV[3] ~= '1' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[2])
end
return mine and 1 or 0
