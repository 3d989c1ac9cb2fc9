-- {ip, token, ip, token, …}
local pairs_ = cmsgpack.unpack(ARGV[1])
for i = 1, #pairs_, 2 do
  redis.call('ZREM', 'css/bookings', pairs_[i] .. ' ' .. pairs_[i + 1])
end
return 1
