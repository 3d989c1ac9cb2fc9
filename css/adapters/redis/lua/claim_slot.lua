-- {owner, lease in ms} -> slot
local SLOTS = 1024
local args = cmsgpack.unpack(ARGV[1])
local owner, now = args[1], now_ms()

local function slot_for()
  local taken, oldest, oldest_end = {}, nil, nil
  local held = redis.call('HGETALL', 'css/slots')
  for i = 1, #held, 2 do
    local slot = tonumber(held[i])
    local ends, holder = string.match(held[i + 1], '^(%d+) (.*)$')
    ends = tonumber(ends)
    if holder == owner then
      return slot -- even if its lease ran out: nobody has taken it
    end
    taken[slot] = true
    if not oldest or ends < oldest_end or (ends == oldest_end and slot < oldest) then
      oldest, oldest_end = slot, ends
    end
  end
  -- One that nobody ever held before one whose lease ran out: its owner may still be frozen, not dead.
  for slot = 0, SLOTS - 1 do
    if not taken[slot] then
      return slot
    end
  end
  return oldest_end <= now and oldest or nil
end

local slot = slot_for()
if not slot then
  return redis.error_reply('ERR all instance slots are taken')
end
redis.call('HSET', 'css/slots', slot, string.format('%.0f %s', now + args[2], owner))
return slot
