{{/* The run: what is computed, and its name. */}}

{{/* Nothing is asked for, so the example is computed. */}}
{{- define "ttg.run.isExample" -}}
{{- with .Values.run }}
{{- if not (or .task .parameters.count .parameters.grid .parameters.file.name) }}true{{ end }}
{{- end }}
{{- end }}

{{/* The function, a map. */}}
{{- define "ttg.run.task" -}}
TASK: {{ ternary "examples.lyapunov:exponent" .Values.run.task (eq "true" (include "ttg.run.isExample" .)) | quote }}
TASK_VERSION: {{ .Values.run.version | quote }}
SEED: {{ .Values.run.seed | int64 | quote }}
SEED_GLOBALS: {{ .Values.run.seedGlobals | quote }}
{{- end }}

{{/* The parameter space, a map of one entry. */}}
{{- define "ttg.run.parameters" -}}
{{- $parameters := .Values.run.parameters }}
{{- if include "ttg.run.isExample" . -}}
PARAMETER_GRID: b=2.5:3.4:500,a=3.4:4:500
{{- else if $parameters.count -}}
PARAMETER_COUNT: {{ $parameters.count | int64 | quote }}
{{- else if $parameters.grid -}}
PARAMETER_GRID: {{ $parameters.grid | quote }}
{{- else if $parameters.file.name -}}
PARAMETER_FILE: {{ include "ttg.run.filePath" . | quote }}
{{- end }}
{{- end }}

{{/* Where seed and ledger find the parameter file. */}}
{{- define "ttg.run.filePath" -}}
{{- $file := .Values.run.parameters.file }}
{{- if include "ttg.run.fileVolume" . -}}
/parameters/{{ $file.name }}
{{- else if hasPrefix "/" $file.name -}}
{{ $file.name }}
{{- else -}}
/tasks/{{ $file.name }}
{{- end }}
{{- end }}

{{/* The volume that holds the parameter file; empty if `run.files` or the image do. */}}
{{- define "ttg.run.fileVolume" -}}
{{- with .Values.run.parameters.file }}
{{- if .configMap -}}
configMap: {name: {{ .configMap }}}
{{- else if .claim -}}
persistentVolumeClaim: {claimName: {{ .claim }}, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{/* The run's name, for RUN_ID. What does not change a value (chunks, attempts, limits) is not in the hash. */}}
{{- define "ttg.run.id" -}}
{{- if .Values.run.name }}
{{- .Values.run.name }}
{{- else }}
{{- list (include "ttg.run.task" .) (include "ttg.run.parameters" .) .Values.run.files .Values.run.parameters.file | toJson | sha256sum | trunc 10 }}
{{- end }}
{{- end }}

{{/* Named by its content and never altered: a child that a worker starts again must not meet another run's code. */}}
{{- define "ttg.run.filesName" -}}
{{ include "ttg.fullname" . }}-files-{{ .Values.run.files | toJson | sha256sum | trunc 10 }}
{{- end }}

{{/* What every program of the run is told of it, a map. */}}
{{- define "ttg.run.env" -}}
RUN_ID: {{ include "ttg.run.id" . | quote }}
{{ include "ttg.run.task" . }}
MAX_ATTEMPTS: {{ .Values.run.maxAttempts | int64 | quote }}
RETRY_DELAYS: {{ join "," .Values.run.retryDelays | quote }}
ACCEPT_CHANGED_CODE: {{ .Values.run.acceptChangedCode | quote }}
{{- end }}

{{/* What those that cut it into chunks are told besides, a map. */}}
{{- define "ttg.run.chunksEnv" -}}
{{ include "ttg.run.env" . }}
{{ include "ttg.run.parameters" . }}
CHUNK_SIZE: {{ .Values.run.chunkSize | int64 | quote }}
{{- end }}
