-- {platform, {e164 …}}: those of them that are ongoing enter the index of running conferences.
local args = cmsgpack.unpack(ARGV[1])
for _, e164 in ipairs(args[2]) do
  local record = redis.call('HMGET', 'confex/' .. e164, 'state', 'srcplatformmoid')
  if record[1] == 'ongoing' and (record[2] or args[1]) == args[1] then
    redis.call('ZADD', 'css/index/running/' .. args[1], 0, e164)
  end
end
return 1
