-- {owner}
local owner = cmsgpack.unpack(ARGV[1])[1]
local held = redis.call('HGETALL', 'css/slots')
for i = 1, #held, 2 do
  if string.match(held[i + 1], '^%d+ (.*)$') == owner then
    redis.call('HDEL', 'css/slots', held[i])
  end
end
return 1
