-- Move an entry to the dead letters, unless somebody has settled it.
--
-- KEYS   1 stream   2 dead letters
-- ARGV   1 group   2 entry id   3 body   4 reason
-- Output 1 if it was moved, else 0

local first = redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if first == 1 then
  redis.call('XADD', KEYS[2], '*', 'body', ARGV[3], 'reason', ARGV[4])
  redis.call('XDEL', KEYS[1], ARGV[2])
end
return first
