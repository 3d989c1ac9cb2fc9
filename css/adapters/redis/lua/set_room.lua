-- {room, is abnormal, seq or -1} -> 1 if the state changed, else 0
local args = cmsgpack.unpack(ARGV[1])
local room, abnormal, seq = args[1], args[2], args[3]
if seq >= 0 then
  if seq <= tonumber(redis.call('HGET', 'css/roomseq', room) or -1) then
    return 0
  end
  redis.call('HSET', 'css/roomseq', room, seq)
end
return redis.call(abnormal and 'SADD' or 'SREM', 'css/rooms', room)
