-- {ip, weight, seconds}: new phantom load on top of what is left of the old one, decaying from now.
local args = cmsgpack.unpack(ARGV[1])
local ip, now = args[1], now_ms()
local key, ends = 'css/penalty/' .. ip, now + args[3] * 1000
redis.call('HSET', key, 'thousandths', args[2] * 1000 + penalty(ip, now), 'from', now, 'until', ends)
redis.call('PEXPIREAT', key, ends)
return 1
