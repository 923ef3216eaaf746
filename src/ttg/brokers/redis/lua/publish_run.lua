#!lua
-- Make a run known, or replace its record.
-- KEYS[1] hash: runs (run -> record)   KEYS[2] hash: runs.since (run -> newest result when it was first published)
-- KEYS[3] stream: results
-- ARGV[1] run   ARGV[2] record (JSON)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
redis.call('HSETNX', KEYS[2], ARGV[1], newest and newest[1] or '0-0')
