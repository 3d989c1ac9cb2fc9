-- {{ip, pid, time in ms when claimed}, …}: those not heard of since are forgotten.
for _, each in ipairs(cmsgpack.unpack(ARGV[1])) do
  local ip, pid, member = each[1], each[2], each[1] .. ' ' .. each[2]
  local score = redis.call('ZSCORE', 'css/processes', member)
  if score and tonumber(score) <= each[3] then
    redis.call('ZREM', 'css/processes', member)
    redis.call('HDEL', 'css/listseq/' .. ip, pid)
    redis.call('SREM', 'css/replaced/' .. ip, pid)
    if tonumber(score) > 0 then
      count_loss(ip, pid)
    end
  end
  redis.call('ZREM', 'css/gone', member)
end
return 1
