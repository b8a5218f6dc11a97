{{/* Configuration of RabbitMQ: what is no secret. */}}

{{- define "ttg.rabbitmq.conf" -}}
{{- if .Values.tls.enabled }}
listeners.tcp = none
listeners.ssl.default = 5671
ssl_options.certfile = /etc/ttg/tls/tls.crt
ssl_options.keyfile = /etc/ttg/tls/tls.key
ssl_options.cacertfile = /etc/ttg/tls/ca.crt
ssl_options.verify = verify_none
{{- else }}
listeners.tcp.default = 5672
{{- end }}
# The page is for `kubectl port-forward`, which comes from within the pod.
management.tcp.ip = 127.0.0.1
management.tcp.port = 15672
# Its curves; 4.3 warns that they will go one day.
deprecated_features.permit.management_metrics_collection = true
# Read at each start, and so is a changed password; with it, no user guest is made.
load_definitions = /etc/ttg/accounts/definitions.json
log.console = true
log.file = false
# A chunk may be computed for hours. Whether its worker lives, the connection's heartbeat tells.
consumer_timeout = 86400000
# The log of the quorum queues stays in memory until it is cut; the default of 512 MiB is for bigger pods.
raft.wal_max_size_bytes = 67108864
{{- end }}

{{/* The accounts, in a vhost of their own. Every program makes the queues it needs, so all may configure `ttg.*`; they publish
     through the default exchange; and each reads what it consumes (and, as RabbitMQ demands, what it makes with a
     dead-letter target). Takes worker, seed, ledger, monitor: the passwords. */}}
{{- define "ttg.rabbitmq.definitions" -}}
{{- $users := list }}
{{- $permissions := list }}
{{- $reads := dict
      "worker" `^ttg\.[^.]+\.(tasks|delay\..+)$`
      "seed" `^ttg\.[^.]+\.(tasks|delay\..+|seed)$`
      "ledger" `^ttg\..+$` }}
{{- range $role, $read := $reads }}
{{- $users = append $users (dict "name" $role "password" (get $ $role) "tags" list) }}
{{- $permissions = append $permissions (dict "user" $role "vhost" "ttg" "configure" `^ttg\..+$` "write" `^amq\.default$` "read" $read) }}
{{- end }}
{{- $users = append $users (dict "name" "monitor" "password" .monitor "tags" (list "monitoring")) }}
{{- $permissions = append $permissions (dict "user" "monitor" "vhost" "ttg" "configure" "^$" "write" "^$" "read" "^$") }}
{{- dict "vhosts" (list (dict "name" "ttg")) "users" $users "permissions" $permissions | toPrettyJson }}
{{- end }}
