-- {{recovery, e164, mark, time in ms, text, planned, settled}, …}, most steps
local args = cmsgpack.unpack(ARGV[1])
local steps, most = args[1], args[2]
for _, step in ipairs(steps) do
  local name, e164 = step[1], step[2]
  local key = 'css/ledger/' .. name
  if redis.call('EXISTS', key) == 1 then
    local is_new = (step[6] or step[7]) and redis.call('SADD', key .. '/joined', e164) == 1
    if is_new then
      redis.call('HINCRBY', key, 'planned', 1)
    end
    if is_new and not step[7] then
      redis.call('SADD', key .. '/open', e164)
      redis.call('HSET', key, 'ended_ms', '0')
    end
    -- One that leaves before its joining was told, by another instance, has joined and left.
    if step[7] and (is_new or redis.call('SREM', key .. '/open', e164) == 1) then
      redis.call('HINCRBY', key, 'settled', 1)
      if redis.call('EXISTS', key .. '/open') == 0 then
        redis.call('HSET', key, 'ended_ms', string.format('%d', step[4]))
      end
    end
    if redis.call('HLEN', key .. '/steps') < most then
      redis.call('HSETNX', key .. '/steps', e164 .. ' ' .. step[3], string.format('%d', step[4]) .. ' ' .. step[5])
    end
    for _, part in ipairs({'/joined', '/open', '/steps'}) do
      redis.call('EXPIRE', key .. part, 30 * 86400)
    end
  end
end
return 1
