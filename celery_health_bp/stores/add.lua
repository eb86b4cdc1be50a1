-- Adds one batch of counts to the fleet's totals, exactly once.
--
-- KEYS  1 totals (hash: field -> number)   2 customers (hash)   3 this writer's last sequence
-- ARGV  1 sequence   2 seconds to remember the writer   3 max_customers   4 number of counters
--       then for each counter: task, field without its customer, customer, increment
--       then for each sum:     field, increment in seconds
-- Returns 1 if the batch was added, 0 if it had been added before.
local sequence = tonumber(ARGV[1])
local last = tonumber(redis.call('GET', KEYS[3]) or '0')
if sequence <= last then
    return 0
end
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])

-- The cap of customers is the whole fleet's: the first max_customers of a task keep their name.
local limit = tonumber(ARGV[3])
local known = {}
local function capped(task, customer)
    if customer == '' or customer == 'unknown' or customer == 'other' then
        return customer
    end
    local member = task .. '\0' .. customer
    if known[member] == nil then
        if redis.call('HEXISTS', KEYS[2], member) == 1 then
            known[member] = customer
        elseif tonumber(redis.call('HGET', KEYS[2], task) or '0') < limit then
            redis.call('HSET', KEYS[2], member, 1)
            redis.call('HINCRBY', KEYS[2], task, 1)
            known[member] = customer
        else
            known[member] = 'other'
        end
    end
    return known[member]
end

local at = 5
for _ = 1, tonumber(ARGV[4]) do
    local field = ARGV[at + 1] .. '\0' .. capped(ARGV[at], ARGV[at + 2])
    redis.call('HINCRBY', KEYS[1], field, ARGV[at + 3])
    at = at + 4
end
while at < #ARGV do
    redis.call('HINCRBYFLOAT', KEYS[1], ARGV[at], ARGV[at + 1])
    at = at + 2
end
return 1
