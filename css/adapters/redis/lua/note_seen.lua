-- {{ip, pid, time in ms, room or ''}, …}
local KEPT_PROCESSES, FORGET_AFTER_MS = 32, 3600000

local function forget_old(key, name, time)
  local known = redis.call('HGETALL', key)
  for i = 1, #known, 2 do
    local is_old = known[i] ~= 'roommoid' and tonumber(known[i + 1]) < time - FORGET_AFTER_MS
    if is_old and known[i] ~= name then
      redis.call('HDEL', key, known[i])
    end
  end
end

for _, sign in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key, name, time = 'css/mcu/' .. sign[1], 'pid:' .. sign[2], sign[3]
  local known = redis.call('HLEN', key)
  local latest, member = 0, sign[1] .. ' ' .. sign[2]
  if time == 0 then
    if tonumber(redis.call('ZSCORE', 'css/processes', member) or 0) > 0 then
      count_loss(sign[1], sign[2])
    end
  else
    -- A sign that comes late, through another instance, does not take a newer one back.
    latest = math.max(time, tonumber(redis.call('HGET', key, name) or 0))
  end
  redis.call('HSET', key, name, latest)
  redis.call('ZADD', 'css/processes', latest, member)
  if latest > 0 then
    redis.call('ZREM', 'css/gone', member)
  else
    redis.call('HDEL', 'css/listseq/' .. sign[1], sign[2])
  end
  if sign[4] ~= '' then
    redis.call('HSET', key, 'roommoid', sign[4])
  end
  if time > 0 and known > KEPT_PROCESSES then
    forget_old(key, name, time)
  end
end
return 1
