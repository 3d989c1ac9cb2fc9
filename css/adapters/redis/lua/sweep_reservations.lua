-- {set, cursor, count} -> {next cursor, how many were dropped}: members `<e164>:<first epoch>` that no record has.
local args = cmsgpack.unpack(ARGV[1])
local key = 'css/set/' .. args[1]
local page = redis.call('SSCAN', key, args[2], 'COUNT', args[3])
local dropped = 0
for _, member in ipairs(page[2]) do
  local e164, epoch = string.match(member, '^(%d+):(%d+)$')
  if e164 and redis.call('HGET', 'confex/' .. e164, 'first_epoch') ~= epoch then
    dropped = dropped + redis.call('SREM', key, member)
  end
end
return {page[1], dropped}
