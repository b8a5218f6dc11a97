-- Hand entries that a consumer still owns to another one, or renew them for itself; the number of deliveries does not grow.
--
-- KEYS   1 stream
-- ARGV   1 group   2 consumer that owns   3 consumer that gets   4 milliseconds that the entries count as silent for
--        5 deliveries to take back   then entry ids
-- Output number of entries handed on

local stream, group, owner, heir, silence = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local handed = 0
for position = 6, #ARGV do
  local id = ARGV[position]
  local pending = redis.call('XPENDING', stream, group, id, id, 1, owner)[1]
  if pending then
    local deliveries = pending[4] - ARGV[5]
    redis.call('XCLAIM', stream, group, heir, 0, id, 'IDLE', silence, 'RETRYCOUNT', deliveries, 'JUSTID')
    handed = handed + 1
  end
end
return handed
