-- {lease in ms, ip, token, ip, token, …}
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
for i = 2, #args, 2 do
  redis.call('SADD', 'css/load/' .. args[i], args[i + 1])
  redis.call('HSET', 'css/booked', args[i + 1], args[i])
  redis.call('ZADD', 'css/bookings', now + args[1], args[i] .. ' ' .. args[i + 1])
end
return 1
