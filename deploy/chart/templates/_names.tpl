{{/* Names, labels and selectors: MetalLB's, whatever they are made of. A selector cannot be changed in an upgrade. */}}

{{- define "metallb.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The override; else the release's name if it holds the chart's, or both. */}}
{{- define "metallb.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $both := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{ .Values.fullnameOverride | default $both | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "metallb.selectorLabels" -}}
app.kubernetes.io/name: {{ include "metallb.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "metallb.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "metallb.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The account of a component: (list $ "speaker"). */}}
{{- define "metallb.account" -}}
{{- $root := index . 0 }}{{ $component := index . 1 -}}
{{- $asked := (index $root.Values $component).serviceAccount -}}
{{- $made := printf "%s-%s" (include "metallb.fullname" $root) $component -}}
{{ $asked.name | default ($asked.create | ternary $made "default") }}
{{- end }}

{{/* The Secret that speakers share. */}}
{{- define "metallb.secretName" -}}
{{ .Values.speaker.secretName | default (printf "%s-memberlist" (include "metallb.fullname" .)) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The objects of one of our plain manifests, under `items`. */}}
{{- define "metallb.manifest" -}}
{{- $root := index . 0 }}{{ $file := index . 1 -}}
{{- $items := list -}}
{{- range regexSplit "(?m)^---$" ($root.Files.Get (printf "files/manifests/%s.yaml" $file)) -1 -}}
{{- $items = append $items (fromYaml .) -}}
{{- end -}}
{{ dict "items" $items | toYaml }}
{{- end }}
