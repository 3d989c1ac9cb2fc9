-- What is left of a host's penalty, in whole thousandths of a conference.
local function penalty(ip, now)
  local found = redis.call('HMGET', 'css/penalty/' .. ip, 'thousandths', 'from', 'until')
  if not found[1] then
    return 0
  end
  local left = math.max(0, found[3] - now)
  return math.floor(found[1] * left / math.max(1, found[3] - found[2]))
end
