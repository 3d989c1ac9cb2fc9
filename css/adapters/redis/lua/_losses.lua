-- How often processes of a host were lost lately.
local LOSSES_KEPT_MS, ONE_LOSS_MS, LONGEST_FLAP = 1200000, 5000, 32

-- A process has been lost. What is lost of a host within a moment is lost by one cause.
local function count_loss(ip, pid)
  local key, now = 'css/losses/' .. ip, now_ms()
  local known = redis.call('HMGET', key, 'pid', 'at')
  if known[1] and known[1] ~= pid and now - tonumber(known[2]) < ONE_LOSS_MS then
    return
  end
  redis.call('HINCRBY', key, 'count', 1)
  redis.call('HSET', key, 'at', now, 'pid', pid)
  redis.call('PEXPIREAT', key, now + LOSSES_KEPT_MS)
end

-- Whether the host is to be avoided: after the second loss, longer with each.
local function flaps(ip, flap_ms, now)
  local known = redis.call('HMGET', 'css/losses/' .. ip, 'count', 'at')
  local count = tonumber(known[1] or 0)
  return count >= 2 and now < known[2] + flap_ms * math.min(LONGEST_FLAP, 2 ^ (count - 2))
end
