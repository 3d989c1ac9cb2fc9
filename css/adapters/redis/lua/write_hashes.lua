-- {{key, {field, value, …}, key, {}, …}, key to increment or '', outbox entries}: an empty hash is deleted.
local args = cmsgpack.unpack(ARGV[1])
local hashes = args[1]
for i = 1, #hashes, 2 do
  local key, list = hashes[i], 'css/hashes/' .. (string.match(hashes[i], '^([^/]+)/') or '')
  redis.call('DEL', key)
  if #hashes[i + 1] > 0 then
    redis.call('HSET', key, unpack(hashes[i + 1]))
    -- A list that is not there yet is made by the first who reads it, from all that is there.
    if redis.call('EXISTS', list) == 1 then
      redis.call('SADD', list, key)
    end
  else
    redis.call('SREM', list, key)
  end
end
if args[2] ~= '' then
  redis.call('INCR', args[2])
end
append_outbox('', args[3])
return 1
