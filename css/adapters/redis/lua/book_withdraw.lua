-- {source, {moid, …}, entry, cleared} -> see `told`; {}: its user domains are others
local args = cmsgpack.unpack(ARGV[1])
local key = 'css/upu/moids/' .. args[1]
if redis.call('SCARD', key) ~= #args[2] then
  return {}
end
for _, moid in ipairs(args[2]) do
  if redis.call('SISMEMBER', key, moid) == 0 then
    return {}
  end
end
redis.call('UNLINK', 'css/upu/book/' .. args[1], key)
return told(args[3], args[4])
