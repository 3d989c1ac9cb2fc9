-- {source platform, lease in ms, limit}: the most urgent of those that are ready, due again when the lease is over.
local args = cmsgpack.unpack(ARGV[1])
local source, ends, claimed = args[1], now_ms() + args[2], {}
local first = redis.call('ZPOPMIN', 'css/index/ready/' .. source, args[3])
for i = 1, #first, 2 do
  claimed[#claimed + 1] = first[i]
  redis.call('ZADD', 'css/index/restore/' .. source, ends, first[i])
end
return claimed
