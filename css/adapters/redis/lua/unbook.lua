-- {ip, token, ip, token, …}
local pairs_ = cmsgpack.unpack(ARGV[1])
for i = 1, #pairs_, 2 do
  local ip, token = pairs_[i], pairs_[i + 1]
  redis.call('SREM', 'css/load/' .. ip, token)
  redis.call('ZREM', 'css/bookings', ip .. ' ' .. token)
  if redis.call('HGET', 'css/booked', token) == ip then
    redis.call('HDEL', 'css/booked', token)
  end
end
return 1
