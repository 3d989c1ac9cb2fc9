-- (epoch, version) of a mark. Both are below 2^53, so numbers compare them well; they are never written back.
local function position(mark)
  local epoch, version = string.match(mark, '^(%d+)%.(%d+)')
  return tonumber(epoch) or 0, tonumber(version) or 0
end

-- Is anything in the lane's hash earlier than the mark?
local function has_earlier(key, mark)
  if redis.call('HLEN', key) == 0 then
    return false
  end
  local epoch, version = position(mark)
  for _, other in ipairs(redis.call('HKEYS', key)) do
    local other_epoch, other_version = position(other)
    if other_epoch < epoch or (other_epoch == epoch and other_version < version) then
      return true
    end
  end
  return false
end

-- Keeps entries {platform, lane, mark, due_ms}, whose data are ARGV[2] and on. Returns the lanes in which earlier ones wait.
local function append_outbox(e164, entries)
  local waiting, known = {}, {}
  for _, entry in ipairs(entries) do
    local lane = entry[2]
    if not known[lane] and has_earlier('css/out/' .. entry[1] .. '/' .. lane .. '/' .. e164, entry[3]) then
      known[lane] = true
      waiting[#waiting + 1] = lane
    end
  end
  for i, entry in ipairs(entries) do
    local place = entry[1] .. '/' .. entry[2]
    redis.call('HSET', 'css/out/' .. place .. '/' .. e164, entry[3], ARGV[i + 1])
    -- An earlier due time, or the lease of whoever carries the number's effects out now, stands.
    redis.call('ZADD', 'css/outdue/' .. place, 'NX', entry[4], e164)
    redis.call('SADD', 'css/outlanes/' .. entry[1], entry[2])
  end
  return waiting
end

-- Forgets one entry of a number; the lane is left to `close_lane`. What waited for it to be carried out is due now.
local function clear_entry(place, e164, mark)
  local key = 'css/out/' .. place .. '/' .. e164
  local known = redis.call('HDEL', key, mark)
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', 'css/outdue/' .. place, e164)
  elseif known == 1 then
    redis.call('ZADD', 'css/outdue/' .. place, now_ms(), e164)
  end
end

-- A lane in which nothing waits any more is not listed.
local function close_lane(platform, lane)
  if redis.call('EXISTS', 'css/outdue/' .. platform .. '/' .. lane) == 0 then
    redis.call('SREM', 'css/outlanes/' .. platform, lane)
  end
end
