-- {platform, lane, lease in ms, limit} -> {e164, {mark, data, …}, …} of the numbers due, each claimed for the lease.
local args = cmsgpack.unpack(ARGV[1])
local place, now = args[1] .. '/' .. args[2], now_ms()
local due_key, batches = 'css/outdue/' .. place, {}
for _, e164 in ipairs(redis.call('ZRANGE', due_key, '-inf', now, 'BYSCORE', 'LIMIT', 0, args[4])) do
  redis.call('ZADD', due_key, now + args[3], e164)
  batches[#batches + 1] = e164
  batches[#batches + 1] = redis.call('HGETALL', 'css/out/' .. place .. '/' .. e164)
end
return batches
