-- {source, when the locator was cleared} -> 1: forgotten; 0: that was done before
local args = cmsgpack.unpack(ARGV[1])
local key = 'css/upu/cleared/' .. args[1]
if (tonumber(redis.call('GET', key)) or 0) >= tonumber(args[2]) then
  return 0
end
redis.call('UNLINK', 'css/upu/book/' .. args[1], 'css/upu/moids/' .. args[1])
redis.call('SET', key, args[2])
return 1
