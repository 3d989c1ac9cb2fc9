-- {{key, {field, value, …}, key, {}, …}, key to increment or '', outbox entries}: an empty hash is deleted.
local args = cmsgpack.unpack(ARGV[1])
replace_hashes(args[1])
if args[2] ~= '' then
  redis.call('INCR', args[2])
end
append_outbox('', args[3])
return 1
