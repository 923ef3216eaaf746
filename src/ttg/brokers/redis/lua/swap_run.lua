#!lua
-- Compare-and-set of a run's record: replace it if it is (by identity and revision) the one that the client has seen.
-- KEYS[1] hash: runs (run -> record)   KEYS[2] hash: runs.specs (identity -> specification)
-- ARGV[1] run   ARGV[2] identity and ARGV[3] revision of the record seen ('' and '0': there was none)
-- ARGV[4] record (JSON)   ARGV[5] its identity   ARGV[6] specification (JSON; '': stays as it is)
-- Returns 1 (replaced) or 0 (it is another one by now).
local body = redis.call('HGET', KEYS[1], ARGV[1])
local current = body and cjson.decode(body) or {}
if (current.identity or '') ~= ARGV[2] or (current.revision or 0) ~= tonumber(ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[2], ARGV[5], ARGV[6])
end
return 1
