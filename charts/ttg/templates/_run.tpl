{{/* The run: what is computed, and its name. */}}

{{/* The task and the parameters, with the example in the place of nothing. A map. */}}
{{- define "ttg.run.what" -}}
{{- $run := .Values.run }}
{{- $task := $run.task }}
{{- $grid := $run.parameters.grid }}
{{- if not (or $task $grid $run.parameters.count $run.parameters.file.name) }}
{{- $task = "examples.lyapunov:exponent" }}
{{- $grid = "b=2.5:3.4:500,a=3.4:4:500" }}
{{- end }}
TASK: {{ $task | quote }}
TASK_VERSION: {{ $run.version | quote }}
SEED: {{ $run.seed | int64 | quote }}
SEED_GLOBALS: {{ $run.seedGlobals | quote }}
{{- with $run.parameters.count }}
PARAMETER_COUNT: {{ . | int64 | quote }}
{{- end }}
{{- with $grid }}
PARAMETER_GRID: {{ . | quote }}
{{- end }}
{{- with $run.parameters.file.name }}
PARAMETER_FILE: {{ include "ttg.run.filePath" $ | quote }}
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
{{- list (include "ttg.run.what" . | fromYaml) .Values.run.files .Values.run.parameters.file | toJson | sha256sum | trunc 10 }}
{{- end }}
{{- end }}

{{/* Named by its content and never altered: a child that a worker starts again must not meet another run's code. */}}
{{- define "ttg.run.filesName" -}}
{{ include "ttg.fullname" . }}-files-{{ .Values.run.files | toJson | sha256sum | trunc 10 }}
{{- end }}

{{/* What every program of the run is told of it, a map. */}}
{{- define "ttg.run.env" -}}
RUN_ID: {{ include "ttg.run.id" . | quote }}
{{ include "ttg.run.what" . }}
MAX_ATTEMPTS: {{ .Values.run.maxAttempts | int64 | quote }}
RETRY_DELAYS: {{ join "," .Values.run.retryDelays | quote }}
ACCEPT_CHANGED_CODE: {{ .Values.run.acceptChangedCode | quote }}
{{- end }}

{{/* What those that cut the run into chunks are told besides, a map. */}}
{{- define "ttg.run.chunksEnv" -}}
{{ include "ttg.run.env" . }}
CHUNK_SIZE: {{ .Values.run.chunkSize | int64 | quote }}
{{- end }}
