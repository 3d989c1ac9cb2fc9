-- {platform, lane, {e164, mark, e164, mark, …}}
local args = cmsgpack.unpack(ARGV[1])
local place, done = args[1] .. '/' .. args[2], args[3]
local due_key = 'css/outdue/' .. place
for i = 1, #done, 2 do
  local key = 'css/out/' .. place .. '/' .. done[i]
  redis.call('HDEL', key, done[i + 1])
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', due_key, done[i])
  end
end
if redis.call('EXISTS', due_key) == 0 then
  redis.call('SREM', 'css/outlanes/' .. args[1], args[2])
end
return 1
