{{/* The broker, as its clients see it. */}}

{{- define "ttg.broker.external" -}}
{{- with .Values.broker.external.existingSecret }}true{{ end }}
{{- end }}

{{/* The name of the broker's objects holds its type: a release that changes brokers replaces them, it cannot alter them. */}}
{{- define "ttg.broker.name" -}}
{{ include "ttg.fullname" . }}-{{ .Values.broker.type }}
{{- end }}

{{/* Secret with the accounts. */}}
{{- define "ttg.broker.secret" -}}
{{ default (printf "%s-broker" (include "ttg.fullname" .)) .Values.broker.existingSecret }}
{{- end }}

{{/* Secret with the broker's certificate. */}}
{{- define "ttg.broker.tlsSecret" -}}
{{ default (printf "%s-broker-tls" (include "ttg.fullname" .)) .Values.tls.existingSecret }}
{{- end }}

{{- define "ttg.broker.port" -}}
{{- if eq .Values.broker.type "redis" }}6379{{ else if .Values.tls.enabled }}5671{{ else }}5672{{ end }}
{{- end }}

{{/* URL of the broker that the chart runs; user and password are not in it. */}}
{{- define "ttg.broker.url" -}}
{{- $tls := ternary "s" "" .Values.tls.enabled }}
{{- $address := printf "%s:%s" (include "ttg.broker.name" .) (include "ttg.broker.port" .) }}
{{- if eq .Values.broker.type "redis" -}}
redis{{ $tls }}://{{ $address }}/0
{{- else -}}
amqp{{ $tls }}://{{ $address }}/ttg
{{- end }}
{{- end }}

{{/* The key of the certificate authority among what is mounted at /etc/ttg/broker; empty: none is. */}}
{{- define "ttg.broker.verifies" -}}
{{- if include "ttg.broker.external" . }}{{ .Values.broker.external.caKey }}{{ else if .Values.tls.enabled }}ca.crt{{ end }}
{{- end }}

{{/* What a client is told of the broker, a map. Takes root, component (its account). */}}
{{- define "ttg.broker.env" -}}
{{- $values := .root.Values }}
QUEUE_BACKEND: {{ $values.broker.type }}
{{ ternary "REDIS_URL" "RABBITMQ_URL" (eq $values.broker.type "redis") }}:
{{- if include "ttg.broker.external" .root }}
  valueFrom:
    secretKeyRef:
      name: {{ $values.broker.external.existingSecret }}
      key: {{ $values.broker.external.urlKey }}
{{- else }} {{ include "ttg.broker.url" .root }}
BROKER_USERNAME: {{ .component }}
BROKER_PASSWORD_FILE: /etc/ttg/broker/{{ .component }}-password
{{- end }}
{{- if include "ttg.broker.verifies" .root }}
BROKER_CA_FILE: /etc/ttg/broker/ca.crt
{{- end }}
{{- end }}

{{/* Sources of the volume at /etc/ttg/broker: the passwords of these accounts, no others, and the authority. Takes root, accounts. */}}
{{- define "ttg.broker.sources" -}}
{{- if not (include "ttg.broker.external" .root) }}
- secret:
    name: {{ include "ttg.broker.secret" .root }}
    items:
      {{- range .accounts }}
      - {key: {{ . }}-password, path: {{ . }}-password}
      {{- end }}
{{- end }}
{{- with include "ttg.broker.verifies" .root }}
- secret:
    name: {{ $.root.Values.broker.external.existingSecret | default (include "ttg.broker.tlsSecret" $.root) }}
    items:
      - {key: {{ . }}, path: ca.crt}
{{- end }}
{{- end }}
