-- {key, lease in ms, limit}: members due by now, oldest first, each rescored to the end of the lease.
local args = cmsgpack.unpack(ARGV[1])
local key, now = args[1], now_ms()
local due = redis.call('ZRANGE', key, '-inf', now, 'BYSCORE', 'LIMIT', 0, args[3])
for _, member in ipairs(due) do
  redis.call('ZADD', key, now + args[2], member)
end
return due
