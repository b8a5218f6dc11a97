-- Count the messages of a run.
--
-- KEYS   1 tasks   2 delayed   3 results   4 dead letters
-- ARGV   1 group of the tasks   2 consumer that holds what was released
-- Output 1 tasks outstanding   2 of these, in flight   3 delayed   4 results outstanding   5 dead letters

local pending = redis.call('XPENDING', KEYS[1], ARGV[1])
local in_flight = pending[1]
for _, consumer in ipairs(pending[4] or {}) do
  if consumer[1] == ARGV[2] then
    in_flight = in_flight - consumer[2]
  end
end
return {
  redis.call('XLEN', KEYS[1]),
  in_flight,
  redis.call('ZCARD', KEYS[2]),
  redis.call('XLEN', KEYS[3]),
  redis.call('XLEN', KEYS[4]),
}
