-- The answers of the facade (facade.py): listings and metadata from an index in memory, uploads received and counted.
-- Objects themselves are files, sent by nginx. Keys of benchmarks are plain (no XML or URL escapes), which this leans on.

local facade = {}

local PAGE = 1000
local KEPT = 4096 -- bodies up to this many bytes can be read again, so that a client finds its own small marks
local MODIFIED = "2026-01-01T00:00:00.000Z"
local keys, sizes, etags = {}, {}, {}
local put = ngx.shared.put

-- Read the index: a line of MD5, size and bucket/key for each object.
function facade.load(path)
    for line in io.lines(path) do
        local etag, size, key = line:match("^(%x+) (%d+) (.+)$")
        keys[#keys + 1] = key
        sizes[key] = size
        etags[key] = '"' .. etag .. '"'
    end
    table.sort(keys)
end

local function answer(status, body)
    ngx.status = status
    ngx.header["Content-Length"] = #body
    if #body > 0 then
        ngx.header["Content-Type"] = "application/xml"
        ngx.print(body)
    else
        ngx.send_headers()
    end
    return ngx.exit(status)
end

local function refuse(status, code)
    return answer(status, "<Error><Code>" .. code .. "</Code><Message>" .. code .. "</Message></Error>")
end

-- The first index whose key is not below (or, with `past`, is above) a text.
local function place(text, past)
    local low, high = 1, #keys + 1
    while low < high do
        local middle = math.floor((low + high) / 2)
        if keys[middle] < text or (past and keys[middle] == text) then low = middle + 1 else high = middle end
    end
    return low
end

local function entry(key, start)
    return "<Contents><Key>" .. key:sub(start) .. "</Key><LastModified>" .. MODIFIED .. "</LastModified><ETag>"
        .. etags[key] .. "</ETag><Size>" .. sizes[key] .. "</Size><StorageClass>STANDARD</StorageClass></Contents>"
end

local function list(bucket, args)
    if args["list-type"] ~= "2" then return refuse(501, "NotImplemented") end
    local top = bucket .. "/"
    local prefix = top .. (args.prefix or "")
    local at = tonumber(args["continuation-token"] or "")
    if not at then
        at = place(prefix)
        if args["start-after"] then at = math.max(at, place(top .. args["start-after"], true)) end
    end
    local most = math.min(tonumber(args["max-keys"] or PAGE), PAGE)
    local found, split = {}, args.delimiter ~= "" and args.delimiter or nil
    while #found < most and keys[at] and keys[at]:sub(1, #prefix) == prefix do
        local key = keys[at]
        local cut = split and key:find(split, #prefix + 1, true)
        if cut then
            local shared = key:sub(1, cut)
            found[#found + 1] = "<CommonPrefixes><Prefix>" .. shared:sub(#top + 1) .. "</Prefix></CommonPrefixes>"
            at = place(shared .. "\255")
        else
            found[#found + 1] = entry(key, #top + 1)
            at = at + 1
        end
    end
    local more = keys[at] and keys[at]:sub(1, #prefix) == prefix
    return answer(200, table.concat({
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
        "<Name>", bucket, "</Name><Prefix>", args.prefix or "", "</Prefix><MaxKeys>", most, "</MaxKeys><KeyCount>",
        #found, "</KeyCount>", args["encoding-type"] and "<EncodingType>url</EncodingType>" or "", "<IsTruncated>",
        more and "true" or "false", "</IsTruncated>",
        more and "<NextContinuationToken>" .. at .. "</NextContinuationToken>" or "", table.concat(found),
        "</ListBucketResult>",
    }))
end

-- How many bytes of an object a whole request body brought. nginx answers by itself where less came than was announced.
local function received()
    ngx.req.read_body()
    local headers = ngx.req.get_headers()
    return tonumber(headers["x-amz-decoded-content-length"] or headers["content-length"] or 0)
end

-- An ETag that says nothing of the content, unless the client summed it up: MD5 here would be most of an upload's time.
local function etag_of_put()
    local summed = ngx.req.get_headers()["content-md5"]
    local raw = summed and ngx.decode_base64(summed)
    return raw and '"' .. raw:gsub(".", function(c) return ("%02x"):format(c:byte()) end) .. '"'
        or '"00000000000000000000000000000000-1"'
end

local function take(path, args)
    local size = received()
    if args.uploadId then
        if not put:incr("u:" .. args.uploadId, size) then return refuse(404, "NoSuchUpload") end
    else
        local etag = etag_of_put()
        put:set("k:" .. path, size .. " " .. etag)
        put:delete("b:" .. path)
        if size <= KEPT then put:set("b:" .. path, ngx.req.get_body_data() or "") end
        ngx.header["ETag"] = etag
        return answer(200, "")
    end
    ngx.header["ETag"] = etag_of_put()
    return answer(200, "")
end

local function post(path, args)
    received()
    if args.uploads then
        local id = tostring(put:incr("uploads", 1, 0))
        put:set("u:" .. id, 0)
        return answer(200, "<InitiateMultipartUploadResult><Bucket>" .. path:match("^[^/]+") .. "</Bucket><Key>"
            .. path:match("/(.*)$") .. "</Key><UploadId>" .. id .. "</UploadId></InitiateMultipartUploadResult>")
    elseif args.uploadId then
        local size = put:get("u:" .. args.uploadId)
        if not size then return refuse(404, "NoSuchUpload") end
        put:delete("u:" .. args.uploadId)
        put:set("k:" .. path, size .. ' "00000000000000000000000000000000-2"')
        return answer(200, "<CompleteMultipartUploadResult><Location>/" .. path .. "</Location><Bucket>"
            .. path:match("^[^/]+") .. "</Bucket><Key>" .. path:match("/(.*)$")
            .. '</Key><ETag>"00000000000000000000000000000000-2"</ETag></CompleteMultipartUploadResult>')
    elseif args.delete then
        return answer(200, "<DeleteResult></DeleteResult>")
    end
    return refuse(400, "NotImplemented")
end

local function remove(path, args)
    if args.uploadId then
        put:delete("u:" .. args.uploadId)
    else
        put:delete("k:" .. path)
        put:delete("b:" .. path)
    end
    ngx.status = 204
    ngx.send_headers()
    return ngx.exit(204)
end

-- What was uploaded to this very facade: HEAD always, GET as far as it was kept.
local function uploaded(path, method)
    local size, etag = (put:get("k:" .. path) or ""):match("^(%d+) (.+)$")
    local body = put:get("b:" .. path)
    if not size or (method == "GET" and not body) then return refuse(404, "NoSuchKey") end
    ngx.header["ETag"] = etag
    ngx.header["Last-Modified"] = "Thu, 01 Jan 2026 00:00:00 GMT"
    if method == "GET" then return answer(200, body) end
    ngx.header["Content-Length"] = size
    ngx.send_headers()
    return ngx.exit(200)
end

-- One request. Returns where nginx is to send the file of an object, with ranges; all else is answered here.
function facade.request(delay)
    if delay > 0 then ngx.sleep(delay) end
    local method, path = ngx.req.get_method(), ngx.var.uri:sub(2)
    local etag = etags[path]
    if etag and (method == "GET" or method == "HEAD") then
        local wanted = ngx.var.http_if_match
        if wanted and wanted ~= etag and wanted ~= "*" then return refuse(412, "PreconditionFailed") end
        ngx.header["ETag"] = etag
        return
    end
    local args = ngx.req.get_uri_args()
    local bucket, key = path:match("^([^/]+)/?(.*)$")
    if method == "PUT" then return take(path, args) end
    if method == "POST" then return post(path, args) end
    if method == "DELETE" then return remove(path, args) end
    if bucket and key == "" then return method == "HEAD" and answer(200, "") or list(bucket, args) end
    return uploaded(path, method)
end

-- For the benchmark itself: GET tells key and size of each upload, DELETE forgets them all.
function facade.account()
    if ngx.req.get_method() == "DELETE" then
        put:flush_all()
        put:flush_expired()
        return answer(200, "")
    end
    local lines = {}
    for _, name in ipairs(put:get_keys(0)) do
        if name:sub(1, 2) == "k:" then
            lines[#lines + 1] = put:get(name):match("^%d+") .. " " .. name:sub(3) .. "\n"
        end
    end
    return answer(200, table.concat(lines))
end

return facade
