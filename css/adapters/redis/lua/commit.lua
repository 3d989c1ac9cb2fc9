-- One step, all or nothing: every check comes before the first write, and no write can fail after the first.
-- Returns 1 (done), {1, lane …} (done, earlier effects wait there) or {outcome, detail, record, conf, tombstone, request}.
local args = cmsgpack.unpack(ARGV[1])
local e164, touch, expected = args[1], args[2], args[3]
local reserve, unreserve, requests, own_request = args[10], args[11], args[12], args[13]
local tombstone, above, outbox = args[14], args[16], args[18]
local record_key, ended_key = 'confex/' .. e164, 'css/ended/' .. e164
local request_key = own_request and requests[1][1] or ''

local function refused(outcome, detail)
  return {outcome, detail, loaded(e164, request_key)}
end

-- expected: {} (there must be no record) or {first epoch, version}, as text
local function is_expected()
  if not expected[1] then
    return redis.call('EXISTS', record_key) == 0
  end
  local found = redis.call('HMGET', record_key, 'first_epoch', 'version')
  return found[1] == expected[1] and found[2] == expected[2]
end

local function is_old(epoch)
  local ended = redis.call('HGET', ended_key, 'epoch')
  return ended and string.find(ended, '^%d+$') and tonumber(epoch) <= tonumber(ended)
end

local function guard_holds(key, value)
  local found = redis.pcall('GET', key)
  if type(found) == 'table' then
    return false
  end
  return (found or '') == value
end

-- The limit that a reservation {set, member, key, field, required} stands under: a number, or nil for none.
local function limit_of(reservation)
  local found = redis.call('HMGET', reservation[3], reservation[4], 'expires')
  local limit, expires = found[1], found[2]
  if expires and string.find(expires, '^%d+$') and tonumber(expires) <= tonumber(redis.call('TIME')[1]) then
    return 0
  end
  if limit then
    return string.find(limit, '^%d+$') and tonumber(limit)
  end
  return reservation[5] and redis.call('EXISTS', reservation[3]) == 0 and 0
end

local function is_member(set, member)
  return redis.call('SISMEMBER', 'css/set/' .. set, member) == 1
end

-- The pairs that are reserved here: given back at the same time, they stay.
local function wanted_pairs()
  local wanted = {}
  for _, each in ipairs(reserve) do
    wanted[each[1]] = wanted[each[1]] or {}
    wanted[each[1]][each[2]] = true
  end
  return wanted
end

local function is_wanted(wanted, pair)
  return wanted[pair[1]] and wanted[pair[1]][pair[2]]
end

-- The first set that can't take its reservation, or nil.
local function full_set(wanted)
  local change, entering = {}, {}
  for _, pair in ipairs(unreserve) do
    local name = pair[1] .. '\0' .. pair[2]
    if not is_wanted(wanted, pair) and not entering[name] and is_member(pair[1], pair[2]) then
      entering[name] = true
      change[pair[1]] = (change[pair[1]] or 0) - 1
    end
  end
  for _, each in ipairs(reserve) do
    local set, member = each[1], each[2]
    local name = set .. '\0' .. member
    if not entering[name] and not is_member(set, member) then
      local limit = limit_of(each)
      if limit and redis.call('SCARD', 'css/set/' .. set) + (change[set] or 0) >= limit then
        return set
      end
      entering[name] = true
      change[set] = (change[set] or 0) + 1
    end
  end
  return nil
end

if own_request and requests[1][3] and redis.call('EXISTS', 'css/req/' .. request_key) == 1 then
  return refused('duplicate', '')
end
for _, guard in ipairs(args[17]) do
  if not guard_holds(guard[1], guard[2]) then
    return {'guard', guard[1]}
  end
end
if touch then
  if not is_expected() then
    return refused('conflict', '')
  end
  if above ~= '' and is_old(above) then
    return refused('old_epoch', '')
  end
end
local wanted
if #reserve > 0 or #unreserve > 0 then
  wanted = wanted_pairs()
  local full = full_set(wanted)
  if full then
    return refused('limit', full)
  end
end

if touch then
  local set_fields, drop_fields, set_conf, delete = args[4], args[5], args[6], args[7]
  if delete then
    redis.call('DEL', record_key, 'conf/' .. e164)
  else
    if #drop_fields > 0 then
      redis.call('HDEL', record_key, unpack(drop_fields))
    end
    redis.call('HSET', record_key, unpack(set_fields))
    if #set_conf > 0 then
      redis.call('HSET', 'conf/' .. e164, unpack(set_conf))
    end
  end
  if tombstone then
    redis.call('DEL', ended_key)
    if #tombstone > 0 then
      redis.call('HSET', ended_key, unpack(tombstone))
      redis.call('EXPIRE', ended_key, args[15])
    end
  end
end
for _, name in ipairs(args[9]) do
  redis.call('ZREM', 'css/index/' .. name, e164)
end
for name, score in pairs(args[8]) do
  redis.call('ZADD', 'css/index/' .. name, score, e164)
end
for _, pair in ipairs(unreserve) do
  if not is_wanted(wanted, pair) then
    redis.call('SREM', 'css/set/' .. pair[1], pair[2])
  end
end
for _, each in ipairs(reserve) do
  redis.call('SADD', 'css/set/' .. each[1], each[2])
end
for i, request in ipairs(requests) do
  redis.call('SET', 'css/req/' .. request[1], ARGV[1 + #outbox + i], 'EX', request[2])
end
replace_hashes(args[20])
-- {key, value, …}: an empty value deletes the string
local strings = args[21]
for i = 1, #strings, 2 do
  if strings[i + 1] == '' then
    redis.call('DEL', strings[i])
  else
    redis.call('SET', strings[i], strings[i + 1])
  end
end
-- cleared: {platform, lane, mark} each
local cleared = args[19]
for _, each in ipairs(cleared) do
  clear_entry(each[1] .. '/' .. each[2], e164, each[3])
end
local waiting = append_outbox(e164, outbox)
for _, each in ipairs(cleared) do
  close_lane(each[1], each[2])
end
return #waiting > 0 and {1, unpack(waiting)} or 1
