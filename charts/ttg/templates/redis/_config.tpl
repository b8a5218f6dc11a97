{{/* Configuration of Redis: what is no secret. */}}

{{- define "ttg.redis.conf" -}}
bind * -::*
{{- if .Values.tls.enabled }}
port 0
tls-port 6379
tls-cert-file /etc/ttg/tls/tls.crt
tls-key-file /etc/ttg/tls/tls.key
tls-ca-cert-file /etc/ttg/tls/ca.crt
tls-auth-clients no
{{- else }}
port 6379
{{- end }}
# For the probe, which then needs neither TLS nor a network.
unixsocket /tmp/redis.sock
unixsocketperm 700
aclfile /etc/ttg/accounts/users.acl
databases 1
dir /data
appendonly yes
appendfsync {{ .Values.redis.appendfsync }}
save ""
maxmemory {{ .Values.redis.maxMemory }}
# A queue must not forget: publishers are refused, and wait, until there is room.
maxmemory-policy noeviction
{{- end }}

{{/* The accounts. A rule for each role: only the keys of runs, only the commands that its program calls, those within the Lua
     scripts of worker/brokers/lua included. Nobody can log in as `default`; but Redis reads its own file as that user, and of a
     user without rights it would skip every transaction in it, that is everything. Takes worker, seed, ledger: SHA-256 of each
     password. */}}
{{- define "ttg.redis.acl" -}}
{{- $all := "+ping +client|setinfo +eval +evalsha +xpending +xgroup|create +xadd" }}
{{- $consume := "+time +xreadgroup +xautoclaim +xack +xdel +xgroup|delconsumer +zadd +zrem +zrange +zrangebyscore +xclaim" -}}
{{- $seed := "+get +set" }}
user default off resetpass ~* &* +@all
user probe on nopass resetchannels -@all +ping
user worker on #{{ .worker }} ~ttg:* resetchannels -@all {{ $all }} {{ $consume }}
user seed on #{{ .seed }} ~ttg:* resetchannels -@all {{ $all }} {{ $seed }}
user ledger on #{{ .ledger }} ~ttg:* resetchannels -@all {{ $all }} {{ $consume }} {{ $seed }} +xlen +zcard +unlink
{{- end }}
