-- {on duty} -> when it was last noted to be on duty again, ms of this clock; 0: it never was off duty
local args = cmsgpack.unpack(ARGV[1])
if not args[1] then
  redis.call('HSET', 'css/duty', 'state', 'off')
  return 0
end
if redis.call('HGET', 'css/duty', 'state') == 'off' then
  redis.call('HSET', 'css/duty', 'state', 'on', 'resumed_ms', string.format('%.0f', now_ms()))
end
return tonumber(redis.call('HGET', 'css/duty', 'resumed_ms') or 0)
