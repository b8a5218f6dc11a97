{{/* What the schema cannot say: each refusal is a sentence that names the value and the remedy. */}}

{{- define "ttg.validate" -}}
{{- include "ttg.validate.broker" . }}
{{- include "ttg.validate.run" . }}
{{- include "ttg.validate.spread" . }}
{{- end }}

{{- define "ttg.validate.broker" -}}
{{- $broker := .Values.broker }}
{{- if not $broker.type }}
{{- fail "broker.type is empty, so there is no broker: add -f values-redis.yaml or -f values-rabbitmq.yaml, or set broker.type to redis or rabbitmq (with broker.external.existingSecret if it is one of your own)" }}
{{- end }}
{{- if not (has $broker.type (list "redis" "rabbitmq")) }}
{{- fail (printf "broker.type=%v is no broker that this chart knows: write redis or rabbitmq" $broker.type) }}
{{- end }}
{{- if include "ttg.broker.external" . }}
{{- if $broker.existingSecret }}
{{- fail "broker.existingSecret and broker.external.existingSecret are both set: the first holds the accounts of a broker that the chart runs, the second the URL of one of your own; keep one" }}
{{- end }}
{{- if .Values.tls.enabled }}
{{- fail "tls.enabled is for a broker that the chart runs, and broker.external.existingSecret names one of your own: leave tls alone, write rediss:// or amqps:// in its URL, and name the authority's key in broker.external.caKey" }}
{{- end }}
{{- else if $broker.external.caKey }}
{{- fail "broker.external.caKey is set without broker.external.existingSecret: name the Secret that holds it, or use tls.enabled for the broker that the chart runs" }}
{{- end }}
{{- if and .Values.tls.existingSecret (not .Values.tls.enabled) }}
{{- fail "tls.existingSecret is set and tls.enabled is false: set tls.enabled=true to use it" }}
{{- end }}
{{- end }}

{{- define "ttg.validate.run" -}}
{{- $run := .Values.run }}
{{- $file := $run.parameters.file }}
{{- $spaces := list }}
{{- if $run.parameters.count }}{{ $spaces = append $spaces "count" }}{{ end }}
{{- if $run.parameters.grid }}{{ $spaces = append $spaces "grid" }}{{ end }}
{{- if $file.name }}{{ $spaces = append $spaces "file.name" }}{{ end }}
{{- if gt (len $spaces) 1 }}
{{- fail (printf "run.parameters.%s are set, each a parameter space of its own: keep one" (join " and run.parameters." $spaces)) }}
{{- end }}
{{- if and $spaces (not $run.task) }}
{{- fail (printf "run.parameters.%s is set without run.task: name the function that computes them, module:function" (first $spaces)) }}
{{- end }}
{{- if and $run.task (not $spaces) }}
{{- fail (printf "run.task=%s is set without parameters: set one of run.parameters.count, run.parameters.grid and run.parameters.file.name" $run.task) }}
{{- end }}
{{- if and $run.task (not (regexMatch "^[^:]+:[^:]+$" $run.task)) }}
{{- fail (printf "run.task=%s is not of the form module:function: write for example my_task:my_function" $run.task) }}
{{- end }}
{{- if and $file.configMap $file.claim }}
{{- fail "run.parameters.file.configMap and run.parameters.file.claim are both set: keep the one that holds the file" }}
{{- end }}
{{- if and (or $file.configMap $file.claim) (not $file.name) }}
{{- fail "run.parameters.file.configMap or .claim is set without run.parameters.file.name: name the file in it, ending in .csv or .jsonl" }}
{{- end }}
{{- if and $file.name (not (or $file.configMap $file.claim (hasPrefix "/" $file.name) (hasKey $run.files $file.name))) }}
{{- fail (printf "run.parameters.file.name=%s is in none of run.files, run.parameters.file.configMap and run.parameters.file.claim: say where it is" $file.name) }}
{{- end }}
{{- end }}

{{/* Without a cluster, in `helm template`, `lookup` finds no nodes; then only the scheduler can say it. */}}
{{- define "ttg.validate.spread" -}}
{{- $worker := .Values.worker }}
{{- if and (eq $worker.spread "hard") $worker.checkNodes }}
{{- $nodes := (lookup "v1" "Node" "" "").items }}
{{- $fit := 0 }}
{{- range $nodes }}
{{- if not (include "ttg.validate.unfit" (dict "node" . "worker" $worker)) }}
{{- $fit = add1 $fit }}
{{- end }}
{{- end }}
{{- if and $nodes (gt (int $worker.replicas) (int $fit)) }}
{{- fail (printf "worker.spread=hard places at most one worker on a node, worker.replicas=%d, and %d nodes take workers: lower worker.replicas, add nodes, or set worker.spread=soft" (int $worker.replicas) $fit) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Why a node takes no worker: cordoned, a label that is missing, a taint that no toleration names. Takes node, worker. */}}
{{- define "ttg.validate.unfit" -}}
{{- $node := .node }}
{{- $worker := .worker }}
{{- if $node.spec.unschedulable }}cordoned{{ end }}
{{- range $label, $value := $worker.nodeSelector }}
{{- if ne $value (dig "metadata" "labels" $label "" $node) }}label{{ end }}
{{- end }}
{{- range $taint := $node.spec.taints }}
{{- $tolerated := eq $taint.effect "PreferNoSchedule" }}
{{- range $worker.tolerations }}
{{- if has (default "" .key) (list "" $taint.key) }}{{ $tolerated = true }}{{ end }}
{{- end }}
{{- if not $tolerated }}taint{{ end }}
{{- end }}
{{- end }}
