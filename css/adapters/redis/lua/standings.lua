-- {ip, …} -> {{what is known of its room and processes, load, penalty, 1 if drained, losses, last lost at}, …}
local found, now = {}, now_ms()
for i, ip in ipairs(cmsgpack.unpack(ARGV[1])) do
  local load, drained = redis.call('SCARD', 'css/load/' .. ip), redis.call('SISMEMBER', 'css/drained', ip)
  local losses = redis.call('HMGET', 'css/losses/' .. ip, 'count', 'at')
  local known = redis.call('HGETALL', 'css/mcu/' .. ip)
  found[i] = {known, load, penalty(ip, now), drained, losses[1] or '0', losses[2] or '0'}
end
return found
