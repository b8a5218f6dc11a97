-- Forget a consumer, unless it holds entries: with it they would be forgotten too.
--
-- KEYS   1 stream
-- ARGV   1 group   2 consumer
-- Output 1 if it was forgotten, else 0

if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then
  return 0
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
