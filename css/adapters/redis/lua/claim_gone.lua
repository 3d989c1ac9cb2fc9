-- {silent before (ms), lease in ms, limit} -> {member, time in ms, …}: processes longest gone first, each claimed.
local args = cmsgpack.unpack(ARGV[1])
local silent_before, lease, limit, now = args[1], args[2], args[3], now_ms()
local found = {}
local gone = redis.call('ZRANGE', 'css/processes', '-inf', '(' .. silent_before, 'BYSCORE', 'WITHSCORES')
for i = 1, #gone, 2 do
  if #found >= 2 * limit then
    break
  end
  local until_ms = redis.call('ZSCORE', 'css/gone', gone[i])
  if not until_ms or tonumber(until_ms) <= now then
    redis.call('ZADD', 'css/gone', now + lease, gone[i])
    found[#found + 1] = gone[i]
    found[#found + 1] = gone[i + 1]
  end
end
return found
