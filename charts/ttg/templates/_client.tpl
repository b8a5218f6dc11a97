{{/* What worker, seed, ledger and test pods have in common: they run the one image, as clients of the broker. */}}

{{- define "ttg.client.image" -}}
image: {{ include "ttg.image" (dict "image" .Values.image "tag" .Chart.AppVersion) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* The environment, from one map, because Helm 4 refuses a name that is there twice. Takes root, component, env, extra. */}}
{{- define "ttg.client.env" -}}
{{- $env := dict "LOG_LEVEL" .root.Values.logLevel }}
{{- $env = mergeOverwrite $env (include "ttg.broker.env" . | fromYaml) (default dict .env) }}
{{- range $name, $value := default dict .extra }}
{{- $_ := set $env $name $value }}
{{- end }}
{{- range $name, $value := $env }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Takes root, parameters (whether the pod reads the parameter file). */}}
{{- define "ttg.client.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if include "ttg.broker.sources" (dict "root" .root "accounts" list) }}
- {name: broker, mountPath: /etc/ttg/broker, readOnly: true}
{{- end }}
{{- if .root.Values.run.files }}
- {name: files, mountPath: /tasks, readOnly: true}
{{- end }}
{{- if and .parameters (include "ttg.run.fileVolume" .root) }}
- {name: parameters, mountPath: /parameters, readOnly: true}
{{- end }}
{{- end }}

{{/* Takes root, accounts, parameters. */}}
{{- define "ttg.client.volumes" -}}
- {name: tmp, emptyDir: {}}
{{- with include "ttg.broker.sources" . }}
- name: broker
  projected:
    sources:
      {{- trim . | nindent 6 }}
{{- end }}
{{- if .root.Values.run.files }}
- name: files
  configMap:
    name: {{ include "ttg.run.filesName" .root }}
{{- end }}
{{- if .parameters }}
{{- with include "ttg.run.fileVolume" .root }}
- name: parameters
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
