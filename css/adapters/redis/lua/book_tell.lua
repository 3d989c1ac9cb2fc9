-- {source, {number, digest before, digest after, …}, {moid, …}, entry, cleared} -> see `told`; {}: not as the book has it
local args = cmsgpack.unpack(ARGV[1])
local book, changes, moids = 'css/upu/book/' .. args[1], args[2], args[3]
for i = 1, #changes, 3 do
  if (redis.call('HGET', book, changes[i]) or '') ~= changes[i + 1] then
    return {}
  end
end
for i = 1, #changes, 3 do
  if changes[i + 2] == '' then
    redis.call('HDEL', book, changes[i])
  else
    redis.call('HSET', book, changes[i], changes[i + 2])
  end
end
for _, moid in ipairs(moids) do
  redis.call('SADD', 'css/upu/moids/' .. args[1], moid)
end
return told(args[4], args[5])
