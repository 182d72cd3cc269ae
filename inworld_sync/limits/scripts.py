"""
Defines the Lua scripts of :class:`RedisLimiter`, which Redis runs one at a time.

All times are from the clock of Redis, so the clocks of the processes do not matter. Keys:

======================  ==========  ==============================================================
``KEYS``                type        content
======================  ==========  ==============================================================
1 ``places``            sorted set  each place in use, with the end of its lease in ms
2 ``granted``           sorted set  each place in use, with the time at which it was granted in ms
3 ``waiting``           sorted set  the queue: processes that wait, by the time of their arrival
4 ``asked``             sorted set  the same processes, with the time in ms until which they wait
5 ``processes``         sorted set  all processes, with the end of their lease in ms
6 ``state``             hash        which Redis server wrote the keys, and times in ms
======================  ==========  ==============================================================

A place is named ``process:number``. ``ARGV`` of every script begins with the prefix of the
channels, the name of the calling process, the number of places of the account and the length of a
lease in ms. A process subscribes to the channel with its name, and gets these messages:

- ``free MS``: after MS milliseconds, a place is free for the process, which is next in the queue;
- ``wanted N``: other processes wait. The process closes its idle connections. N of its other
  connections get no new work, so that they close too.

Fairness: a process that was refused a place enters the queue. For each place that the process has,
its arrival counts as ``_LATER_US`` later. A free place is for the first process of the queue, which
then leaves the queue. If all places are in use, processes that have more than their share leave the
queue and are asked to return places. If the first processes of the queue have no place at all, the
processes with the oldest places are asked to return places that were granted at least ``SLICE_MS``
ago.

A place that is released is free ``LINGER_MS`` later, because the service may count a closed
connection for a moment.

Restart: a new Redis server may not know all places that are in use, if it has replaced another
server. So the new server grants no place for ``SETTLE_MS``. During this time each process registers
its places again.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ACQUIRE", "HEARTBEAT", "KEYS", "LEAVE", "RELEASE", "WITHDRAW"]

KEYS: Final = ("places", "granted", "waiting", "asked", "processes", "state")

# A Redis server that has started or taken over grants no places for this time. A process detects
# within a second that the server is back; see redis_limiter.py.
SETTLE_MS: Final = 3_000

# If a server has run for longer than this and knows no place, no process has a place. Otherwise the
# heartbeats of the processes would have registered their places.
_KNOWN_AFTER_SECONDS: Final = 20

# While other processes have no place, a process may use a place for this time.
SLICE_MS: Final = 5_000

# How much later a process enters the queue for each place that it has, in microseconds.
_LATER_US: Final = 2_000_000

# For this time, a released place is not granted again.
LINGER_MS: Final = 500

# The time between two requests to return places.
_PRESS_MS: Final = 1_000

# Keys that no process uses any more are removed after a day.
_KEPT_MS: Final = 86_400_000

_COMMON: Final = f"""
local PLACES, GRANTED, WAITING, ASKED, PROCESSES, STATE = unpack(KEYS)
local channels, me = ARGV[1], ARGV[2]
local most, lease = tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function owner_of(place)
  return string.match(place, '^[^:]+')
end

local function remove_expired()
  -- If the clock of the server was set back, these times would come too late.
  for _, key in ipairs({{PLACES, ASKED, PROCESSES}}) do
    if redis.call('ZCOUNT', key, '(' .. now + lease, '+inf') > 0 then
      for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. now + lease, '+inf')) do
        redis.call('ZADD', key, now + lease, member)
      end
    end
  end
  for _, place in ipairs(redis.call('ZRANGEBYSCORE', PLACES, '-inf', now)) do
    redis.call('ZREM', PLACES, place)
    redis.call('ZREM', GRANTED, place)
  end
  for _, process in ipairs(redis.call('ZRANGEBYSCORE', ASKED, '-inf', now)) do
    redis.call('ZREM', ASKED, process)
    redis.call('ZREM', WAITING, process)
  end
  redis.call('ZREMRANGEBYSCORE', PROCESSES, '-inf', now)
end

-- Return how long this server grants no places, in ms.
local function settling()
  local run, uptime = '', {_KNOWN_AFTER_SECONDS}
  local info = redis.pcall('INFO', 'server')
  if type(info) == 'string' then
    run = string.match(info, 'run_id:(%x+)') or ''
    uptime = tonumber(string.match(info, 'uptime_in_seconds:(%d+)')) or uptime
  end
  local known = redis.call('HGET', STATE, 'run')
  if known ~= run then
    redis.call('HSET', STATE, 'run', run)
    redis.call('PEXPIRE', STATE, {_KEPT_MS})
    if known or uptime < {_KNOWN_AFTER_SECONDS} then
      redis.call('HSET', STATE, 'settled', now + {SETTLE_MS})
    end
  end
  local pause = tonumber(redis.call('HGET', STATE, 'settled') or 0) - now
  return pause > 0 and pause <= {SETTLE_MS} and pause or 0
end

local function call_next(delay)
  local free = most - redis.call('ZCOUNT', PLACES, '(' .. now + delay, '+inf')
  if free <= 0 then return end
  for _, process in ipairs(redis.call('ZRANGE', WAITING, 0, free - 1)) do
    redis.call('PUBLISH', channels .. process, 'free ' .. delay)
  end
end

local function drop(first)
  for index = first, #ARGV do
    local ends = redis.call('ZSCORE', PLACES, ARGV[index])
    if ends and tonumber(ends) > now + {LINGER_MS} then
      redis.call('ZADD', PLACES, now + {LINGER_MS}, ARGV[index])
    end
    redis.call('ZREM', GRANTED, ARGV[index])
  end
end

local function enter()
  redis.call('ZADD', PROCESSES, now + lease, me)
end

local function withdraw()
  redis.call('ZREM', WAITING, me)
  redis.call('ZREM', ASKED, me)
end
"""

# Further ARGV: the name of the new place, how long the process waits in the queue, in ms, and how
# many places the process has.
# The script returns whether the place was granted, how many processes are ahead, for how many ms no
# place is granted, and how many processes there are.
ACQUIRE: Final = (
    _COMMON
    + f"""
local place, patience, held = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])

local function press()
  local pressed = tonumber(redis.call('HGET', STATE, 'pressed') or 0)
  if pressed <= now and now < pressed + {_PRESS_MS} then return end
  redis.call('HSET', STATE, 'pressed', now)
  local granted = redis.call('ZRANGE', GRANTED, 0, -1, 'WITHSCORES')
  local counts, wanted, participants = {{}}, {{}}, 0
  for index = 1, #granted, 2 do
    local owner = owner_of(granted[index])
    if not counts[owner] then
      counts[owner], wanted[owner], participants = 0, 0, participants + 1
    end
    counts[owner] = counts[owner] + 1
  end
  local queue = redis.call('ZRANGE', WAITING, 0, most - 1)
  for _, process in ipairs(queue) do
    if not counts[process] then participants = participants + 1 end
  end
  local share = math.max(1, math.floor(most / participants))
  local short, without = 0, 0
  for _, process in ipairs(queue) do
    if (counts[process] or 0) < share then short = short + 1 end
    if not counts[process] then without = without + 1 end
  end
  for index = 1, #granted, 2 do
    local owner = owner_of(granted[index])
    if short > 0 and counts[owner] > share then
      counts[owner], wanted[owner] = counts[owner] - 1, wanted[owner] + 1
      short, without = short - 1, without - 1
    end
  end
  for index = 1, #granted, 2 do
    local owner = owner_of(granted[index])
    local is_old = tonumber(granted[index + 1]) + {SLICE_MS} <= now
    if without > 0 and is_old and wanted[owner] < counts[owner] then
      wanted[owner], without = wanted[owner] + 1, without - 1
    end
  end
  for owner, count in pairs(wanted) do
    if count > 0 then
      redis.call('ZREM', WAITING, owner)
      redis.call('ZREM', ASKED, owner)
    end
    redis.call('PUBLISH', channels .. owner, 'wanted ' .. count)
  end
end

remove_expired()
local pause = settling()
enter()
local free = most - redis.call('ZCARD', PLACES)
local ahead = redis.call('ZRANK', WAITING, me) or redis.call('ZCARD', WAITING)
if pause == 0 and free > ahead then
  redis.call('ZADD', PLACES, now + lease, place)
  redis.call('ZADD', GRANTED, now, place)
  withdraw()
  return {{1, ahead, 0, redis.call('ZCARD', PROCESSES)}}
end
local arrival = clock[1] * 1000000 + clock[2] + held * {_LATER_US}
redis.call('ZADD', WAITING, 'NX', arrival, me)
redis.call('ZADD', ASKED, now + patience, me)
if free <= 0 then press() end
return {{0, ahead, pause, redis.call('ZCARD', PROCESSES)}}
"""
)

# Further ARGV: the places that are released.
RELEASE: Final = (
    _COMMON
    + f"""
drop(5)
remove_expired()
call_next({LINGER_MS})
return 0
"""
)

# Further ARGV: all places of the process. The script returns how many processes there are.
HEARTBEAT: Final = (
    _COMMON
    + """
settling()
for index = 5, #ARGV do
  redis.call('ZADD', PLACES, now + lease, ARGV[index])
  redis.call('ZADD', GRANTED, 'NX', now, ARGV[index])
end
enter()
remove_expired()
call_next(0)
return redis.call('ZCARD', PROCESSES)
"""
)

# No further ARGV. The process leaves the queue.
WITHDRAW: Final = (
    _COMMON
    + """
withdraw()
remove_expired()
call_next(0)
return 0
"""
)

# Further ARGV: all places of the process. After this call, the process has no places.
LEAVE: Final = (
    _COMMON
    + f"""
drop(5)
withdraw()
redis.call('ZREM', PROCESSES, me)
remove_expired()
call_next({LINGER_MS})
return 0
"""
)
