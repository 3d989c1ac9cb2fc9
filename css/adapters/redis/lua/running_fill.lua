-- {platform, {e164 …}}: those of them that are ongoing enter the index of running conferences, if it lacks them.
local args = cmsgpack.unpack(ARGV[1])
local index = 'css/index/running/' .. args[1]
for _, e164 in ipairs(args[2]) do
  if not redis.call('ZSCORE', index, e164) then
    local record = redis.call('HMGET', 'confex/' .. e164, 'state', 'srcplatformmoid')
    if record[1] == 'ongoing' and (record[2] or args[1]) == args[1] then
      redis.call('ZADD', index, 0, e164)
    end
  end
end
return 1
