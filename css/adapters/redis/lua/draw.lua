-- {bucket, rate in tokens a second, burst, want} -> how many tokens there were, at most `want`.
-- Counted in thousandths of a token, so that slow rates fill it too.
local args = cmsgpack.unpack(ARGV[1])
local key, rate, burst, want, now = 'css/bucket/' .. args[1], args[2], args[3] * 1000, args[4], now_ms()
local known = redis.call('HMGET', key, 'thousandths', 'at')
local level = burst
if known[1] then
  level = math.min(burst, tonumber(known[1]) + math.max(0, now - tonumber(known[2])) * rate)
end
local drawn = math.min(want, math.floor(level / 1000))
redis.call('HSET', key, 'thousandths', math.floor(level - drawn * 1000), 'at', now)
redis.call('PEXPIRE', key, 60000 + math.floor(burst / rate))
return drawn
