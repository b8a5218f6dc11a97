-- Publish tasks if seeding stands exactly where they begin, and move it to where they end.
--
-- KEYS   1 tasks   2 position
-- ARGV   1 position at which the tasks begin   2 position at which they end   then bodies
-- Output position reached, as a string

local reached = redis.call('GET', KEYS[2]) or '0'
if reached ~= ARGV[1] or reached == ARGV[2] then
  return reached
end
for number = 3, #ARGV do
  redis.call('XADD', KEYS[1], '*', 'body', ARGV[number])
end
redis.call('SET', KEYS[2], ARGV[2])
return ARGV[2]
