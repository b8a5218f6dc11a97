-- Settle what was asked for, promote what is due, take over what was left, read what is new: one step, one round trip.
-- Repeating it after a lost reply is harmless: XACK tells who was first.
--
-- KEYS   1 stream consumed   2 tasks   3 results   4 delayed
-- ARGV   1 group   2 consumer   3 entries to take at most
--        4 entry id to look for left entries from, '' not to look   5 milliseconds of silence that make an entry a left one
--        then for each settlement: entry id, number of results, each result,
--        number of retries, each as its delay in milliseconds and its body
-- Output 1 entries, each as id, body, number of deliveries before   2 entry id to look from next, '0-0' after the last
--        3 milliseconds until a delayed message is due, -1 if there is none

local stream, tasks, results, delayed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, consumer, limit, cursor, silence = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000

local position = 5
local function argument()
  position = position + 1
  return ARGV[position]
end

-- XACK and ZREM come before XADD: a server that is out of memory refuses XADD as the first write of a script and allows it
-- later on, so a full server can still be emptied, and no settlement is carried out by halves.
while position < #ARGV do
  local id = argument()
  local first = redis.call('XACK', stream, group, id) == 1
  for _ = 1, tonumber(argument()) do
    local body = argument()
    if first then
      redis.call('XADD', results, '*', 'body', body)
    end
  end
  for number = 1, tonumber(argument()) do
    local delay, body = tonumber(argument()), argument()
    if first and delay > 0 then
      -- A sorted set holds equal members once: the prefix, up to the first slash, makes each its own.
      redis.call('ZADD', delayed, now + delay, id .. ':' .. number .. '/' .. body)
    elseif first then
      redis.call('XADD', tasks, '*', 'body', body)
    end
  end
  if first then
    redis.call('XDEL', stream, id)
  end
end

for _, member in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', delayed, member)
  redis.call('XADD', tasks, '*', 'body', string.sub(member, string.find(member, '/', 1, true) + 1))
end

local taken = {}
while cursor ~= '' and #taken < limit do
  local found = redis.call('XAUTOCLAIM', stream, group, consumer, silence, cursor, 'COUNT', limit - #taken)
  cursor = found[1]
  for number = 1, #found[2] do
    local entry = found[2][number]
    if entry then -- Redis 6.2 gives false for one that was deleted by hand
      local pending = redis.call('XPENDING', stream, group, entry[1], entry[1], 1)
      taken[#taken + 1] = { entry[1], entry[2][2], pending[1][4] - 1 }
    end
  end
  if cursor == '0-0' then
    break
  end
end

if #taken < limit then
  local new = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', limit - #taken, 'STREAMS', stream, '>')
  for _, entry in ipairs(new and new[1][2] or {}) do
    taken[#taken + 1] = { entry[1], entry[2][2], 0 }
  end
end

local due = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
return { taken, cursor, due and math.max(0, math.ceil(due - now)) or -1 }
