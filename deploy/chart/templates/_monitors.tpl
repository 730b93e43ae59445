{{/* What monitors have in common. */}}

{{/* (list $ component asked), where `asked` has additionalLabels and annotations. */}}
{{- define "metallb.monitorMetadata" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $asked := index . 2 -}}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "metallb.labels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ $component }}
  {{- with $asked.additionalLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $asked.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* (list monitor tlsConfig). */}}
{{- define "metallb.endpoint" -}}
{{- $monitor := index . 0 -}}
port: metricshttps
scheme: https
{{- with index . 1 }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* One of our alerts as the values ask for it, under `rules`: (list $ rule). Of MetalLB's, each may be off, have other labels, and leave
pools out; that of the usage of pools is there once for each threshold. */}}
{{- define "metallb.alerts" -}}
{{- $asked := (index . 0).Values.prometheus.prometheusRule }}{{ $rule := index . 1 -}}
{{- $rules := list -}}
{{- $keys := dict "MetalLBStaleConfig" "staleConfig" "MetalLBConfigNotLoaded" "configNotLoaded" -}}
{{- $keys = merge $keys (dict "MetalLBAddressPoolExhausted" "addressPoolExhausted" "MetalLBBGPSessionDown" "bgpSessionDown") -}}
{{- $key := index $keys $rule.alert -}}
{{- if hasPrefix "MetalLBAddressPoolUsage" $rule.alert -}}
{{- if and $asked.addressPoolUsage.enabled (eq $rule.alert "MetalLBAddressPoolUsage75Percent") -}}
{{- range $asked.addressPoolUsage.thresholds -}}
{{- $percent := toString .percent -}}
{{- $one := deepCopy $rule -}}
{{- $_ := set $one "alert" (printf "MetalLBAddressPoolUsage%sPercent" $percent) -}}
{{- $_ := set $one "expr" (replace "> 75" (printf "> %s" $percent) $rule.expr) -}}
{{- $_ := set $one.annotations "summary" (replace "75 %" (printf "%s %%" $percent) $rule.annotations.summary) -}}
{{- $_ := set $one "labels" .labels -}}
{{- $rules = append $rules (include "metallb.sparing" (list $one $asked.addressPoolUsage.excludePools) | fromYaml) -}}
{{- end -}}
{{- end -}}
{{- else if not $key -}}
{{- $rules = append $rules $rule -}}
{{- else if (index $asked $key).enabled -}}
{{- $_ := set $rule "labels" (index $asked $key).labels -}}
{{- $rules = append $rules (include "metallb.sparing" (list $rule (index $asked $key).excludePools) | fromYaml) -}}
{{- end -}}
{{ dict "rules" $rules | toYaml }}
{{- end }}

{{/* An alert that leaves pools out: (list rule pattern). */}}
{{- define "metallb.sparing" -}}
{{- $rule := index . 0 -}}
{{- with index . 1 -}}
{{- $but := printf "${1}{pool!~%q}" . -}}
{{- $_ := set $rule "expr" (regexReplaceAll "(metallb_allocator_addresses_(in_use_)?total)" $rule.expr $but) -}}
{{- end -}}
{{ toYaml $rule }}
{{- end }}
