#!lua flags=no-writes,allow-oom
-- The id of the newest entry of a stream, without the entry.
-- KEYS[1] stream
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return newest and newest[1] or ''
