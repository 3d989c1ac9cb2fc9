-- {source platform, limit} -> {how many are ready, 1 if more are due}: due restores move to the queue by urgency.
local args = cmsgpack.unpack(ARGV[1])
local source, limit, now = args[1], args[2], now_ms()
local waiting, ready = 'css/index/restore/' .. source, 'css/index/ready/' .. source
local due = redis.call('ZRANGE', waiting, '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
for _, member in ipairs(due) do
  redis.call('ZADD', ready, redis.call('ZSCORE', 'css/index/urgency/' .. source, member) or 0, member)
  redis.call('ZREM', waiting, member)
end
local more = #due == limit and #redis.call('ZRANGE', waiting, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1) or 0
return {redis.call('ZCARD', ready), more}
