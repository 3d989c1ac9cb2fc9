-- {room, …}: exactly these are abnormal.
redis.call('DEL', 'css/rooms')
for _, room in ipairs(cmsgpack.unpack(ARGV[1])) do
  redis.call('SADD', 'css/rooms', room)
end
return 1
