-- {name, {field, value, …}, begun in ms, most entries}
local args = cmsgpack.unpack(ARGV[1])
local name, fields, begun, most = args[1], args[2], args[3], args[4]
local key = 'css/ledger/' .. name
if redis.call('EXISTS', key) == 1 then
  return 0
end
redis.call('HSET', key, unpack(fields))
redis.call('EXPIRE', key, 30 * 86400)
redis.call('ZADD', 'css/ledger', begun, name)
local spare = redis.call('ZCARD', 'css/ledger') - most
if spare > 0 then
  for _, old in ipairs(redis.call('ZRANGE', 'css/ledger', 0, spare - 1)) do
    local place = 'css/ledger/' .. old
    redis.call('DEL', place, place .. '/joined', place .. '/open', place .. '/steps')
    redis.call('ZREM', 'css/ledger', old)
  end
end
return 1
