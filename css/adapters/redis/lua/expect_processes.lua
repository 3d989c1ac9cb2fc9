-- {ip, pid, …}: those that nobody has heard of, or that are forgotten, count as heard of now.
local names, now = cmsgpack.unpack(ARGV[1]), now_ms()
for i = 1, #names, 2 do
  redis.call('ZADD', 'css/processes', 'NX', now, names[i] .. ' ' .. names[i + 1])
end
return 1
