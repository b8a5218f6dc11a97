{{/* Names and labels. */}}

{{- define "ttg.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters: the seed's pod adds 22 ("-seed-", hash, "-", suffix), and a pod's name is a host name of 63. */}}
{{- define "ttg.fullname" -}}
{{- $name := include "ttg.name" . }}
{{- if .Values.fullnameOverride }}
{{- $name = .Values.fullnameOverride }}
{{- else if not (contains $name .Release.Name) }}
{{- $name = printf "%s-%s" .Release.Name $name }}
{{- else }}
{{- $name = .Release.Name }}
{{- end }}
{{- $name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Labels that find a component's pods; they never change. Takes root, component. */}}
{{- define "ttg.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ttg.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of an object, not of a pod template: a new chart version must not roll the pods. Takes root, component. */}}
{{- define "ttg.labels" -}}
{{ include "ttg.selectorLabels" . }}
app.kubernetes.io/part-of: ttg
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* registry/repository:tag or @digest. Takes image, tag (used if the image names none). */}}
{{- define "ttg.image" -}}
{{- with .image.registry }}{{ . }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .tag .image.tag }}{{ end }}
{{- end }}

{{/* What all pods of all components have in common. Takes root, component, user. */}}
{{- define "ttg.pod" -}}
serviceAccountName: {{ include "ttg.fullname" .root }}-{{ .component }}
automountServiceAccountToken: false
enableServiceLinks: false # a Service named "ledger" would set LEDGER_PORT
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  fsGroupChangePolicy: OnRootMismatch # else each start walks the volume, and loosens the modes of its files
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "ttg.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where a pod may run. Takes a section of the values. */}}
{{- define "ttg.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A StatefulSet's volume: deleted with it unless kept. Takes root, section, component, name. */}}
{{- define "ttg.volumeClaim" -}}
{{- if .section.persistence.enabled }}
persistentVolumeClaimRetentionPolicy:
  whenDeleted: {{ ternary "Retain" "Delete" .section.persistence.keep }}
  whenScaled: Retain
volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: {{ .name }}
      labels:
        {{- include "ttg.selectorLabels" . | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .section.persistence.storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .section.persistence.size }}
{{- end }}
{{- end }}
