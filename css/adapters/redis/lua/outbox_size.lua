-- {platform, lane}: how many entries wait in the lane.
local args = cmsgpack.unpack(ARGV[1])
local place, size = args[1] .. '/' .. args[2], 0
for _, e164 in ipairs(redis.call('ZRANGE', 'css/outdue/' .. place, 0, -1)) do
  size = size + redis.call('HLEN', 'css/out/' .. place .. '/' .. e164)
end
return size
