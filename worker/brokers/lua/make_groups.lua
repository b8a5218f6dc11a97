-- Make the streams and their groups, where they are not there.
--
-- KEYS   streams
-- ARGV   the group of each
-- Output number of groups made

local made = 0
for number, group in ipairs(ARGV) do
  -- Asking first lets a consumer open a server that is out of memory, which refuses XGROUP CREATE even for a group it has.
  if redis.pcall('XPENDING', KEYS[number], group).err then
    redis.call('XGROUP', 'CREATE', KEYS[number], group, '0', 'MKSTREAM')
    made = made + 1
  end
end
return made
