-- {token, candidates, default room, silent before (ms), lease in ms, flap in ms} -> {ip, room} or nil
local args = cmsgpack.unpack(ARGV[1])
local token, candidates, default_room, silent_before, lease, flap = unpack(args)
local now = now_ms()

local function members(key)
  local found = {}
  for _, member in ipairs(redis.call('SMEMBERS', key)) do
    found[member] = true
  end
  return found
end

local drained, abnormal = members('css/drained'), members('css/rooms')

local function room_of(ip)
  return redis.call('HGET', 'css/mcu/' .. ip, 'roommoid') or ''
end

local function is_fit(ip)
  if drained[ip] then
    return false
  end
  local known, room, heard, alive = redis.call('HGETALL', 'css/mcu/' .. ip), default_room, false, false
  for i = 1, #known, 2 do
    if known[i] == 'roommoid' then
      room = known[i + 1]
    else
      local time = tonumber(known[i + 1])
      heard = true
      alive = alive or (time > 0 and time >= silent_before)
    end
  end
  return not abnormal[room] and (alive or not heard)
end

local booked = redis.call('HGET', 'css/booked', token)
if booked then
  return {booked, room_of(booked)}
end
local chosen, least, chosen_flaps
for _, ip in ipairs(candidates) do
  if is_fit(ip) then
    local load, does_flap = redis.call('SCARD', 'css/load/' .. ip) * 1000 + penalty(ip, now), flaps(ip, flap, now)
    local is_better = not chosen or (chosen_flaps and not does_flap)
    if is_better or (chosen_flaps == does_flap and load < least) then
      chosen, least, chosen_flaps = ip, load, does_flap
    end
  end
end
if not chosen then
  return false
end
redis.call('SADD', 'css/load/' .. chosen, token)
redis.call('HSET', 'css/booked', token, chosen)
redis.call('ZADD', 'css/bookings', now + lease, chosen .. ' ' .. token)
return {chosen, room_of(chosen)}
