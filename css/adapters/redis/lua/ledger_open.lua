-- {name, {field, value, …}, begun in ms, most entries, what was lost or empty, for how long that is one loss} -> name
local args = cmsgpack.unpack(ARGV[1])
local name, fields, begun, most, loss, one_loss = unpack(args)
local key = 'css/ledger/' .. name
local same = redis.call('GET', 'css/loss/' .. loss)
if same and redis.call('HGET', 'css/ledger/' .. same, 'ended_ms') == '0' then
  return same
end
if redis.call('EXISTS', key) == 1 then
  return name
end
if loss ~= '' then
  redis.call('SET', 'css/loss/' .. loss, name, 'PX', one_loss)
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
return name
