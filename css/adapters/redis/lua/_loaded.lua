-- All that is known of a number: record, conf, tombstone, request (false: unknown, or not asked for).
local function loaded(e164, request)
  return
    redis.call('HGETALL', 'confex/' .. e164),
    redis.call('HGETALL', 'conf/' .. e164),
    redis.call('HGETALL', 'css/ended/' .. e164),
    request ~= '' and redis.call('GET', 'css/req/' .. request)
end
