#!lua
-- Append to the events log, which forgets its oldest entries.
-- KEYS[1] stream: events
-- ARGV[1] about how many entries to keep   ARGV[2…] events (JSON)
for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'event', ARGV[i])
end
