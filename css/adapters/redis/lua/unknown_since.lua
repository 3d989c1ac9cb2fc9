-- {ip, pid, numbers} -> since when each was noted; the others are forgotten
local args = cmsgpack.unpack(ARGV[1])
local key, now, wanted, since = 'css/unknown/' .. args[1] .. '/' .. args[2], now_ms(), {}, {}
for _, number in ipairs(args[3]) do
  wanted[number] = true
end
for _, number in ipairs(redis.call('HKEYS', key)) do
  if not wanted[number] then
    redis.call('HDEL', key, number)
  end
end
for i, number in ipairs(args[3]) do
  redis.call('HSETNX', key, number, now)
  since[i] = tonumber(redis.call('HGET', key, number))
end
if #args[3] > 0 then
  redis.call('EXPIRE', key, 3600)
end
return since
