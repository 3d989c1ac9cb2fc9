-- {{key, {field, value, …}, key, {}, …}, key to increment or '', outbox entries}: an empty hash is deleted.
local args = cmsgpack.unpack(ARGV[1])
local hashes = args[1]
for i = 1, #hashes, 2 do
  redis.call('DEL', hashes[i])
  if #hashes[i + 1] > 0 then
    redis.call('HSET', hashes[i], unpack(hashes[i + 1]))
  end
end
if args[2] ~= '' then
  redis.call('INCR', args[2])
end
append_outbox('', args[3])
return 1
