-- {ip, pid, seq} -> 0 if a newer list was noted before
local args = cmsgpack.unpack(ARGV[1])
local key = 'css/listseq/' .. args[1]
local known = tonumber(redis.call('HGET', key, args[2]) or -1)
if args[3] < known then
  return 0
end
redis.call('HSET', key, args[2], args[3])
redis.call('EXPIRE', key, 86400)
return 1
