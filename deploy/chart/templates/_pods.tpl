{{/* What the pods of controller and speaker have in common. Each takes (list $ "speaker"). */}}

{{- define "metallb.podMetadata" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $asked := index $root.Values $component -}}
{{- $annotations := dict -}}
{{- if $root.Values.prometheus.scrapeAnnotations -}}
{{- $port := toString $root.Values.prometheus.metricsPort -}}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" $port "prometheus.io/scheme" "https" -}}
{{- end -}}
{{- with merge (deepCopy $asked.podAnnotations) $annotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{ end -}}
labels:
  {{- include "metallb.selectorLabels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ $component }}
  # Tells our pods from MetalLB's.
  heliograph.io/part: {{ $component }}
  {{- with $asked.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Where and as whom they run. */}}
{{- define "metallb.placement" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $asked := index $root.Values $component -}}
{{- with $root.Values.imagePullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- with $asked.runtimeClassName -}}
runtimeClassName: {{ . }}
{{ end -}}
{{- with $asked.affinity -}}
affinity:
  {{- toYaml . | nindent 2 }}
{{ end -}}
serviceAccountName: {{ include "metallb.account" . }}
{{- $class := eq $component "speaker" | ternary "system-node-critical" "system-cluster-critical" }}
priorityClassName: {{ $asked.priorityClassName | default $class }}
nodeSelector:
  {{- merge (dict "kubernetes.io/os" "linux") $asked.nodeSelector | toYaml | nindent 2 }}
securityContext:
  {{- merge (deepCopy $asked.securityContext) (dict "seccompProfile" (dict "type" "RuntimeDefault")) | toYaml | nindent 2 }}
{{- end }}

{{- define "metallb.program" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $asked := index $root.Values $component -}}
{{- $image := $root.Values.heliograph.image -}}
image: {{ printf "%s:%s" $image.repository (toString ($image.tag | default $root.Chart.AppVersion)) }}
{{- with $image.pullPolicy | default ($asked.image | default dict).pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
command: [/speaker]
{{- with $asked.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The flags that both understand. */}}
{{- define "metallb.flags" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $asked := index $root.Values $component -}}
- --log-level={{ $asked.logLevel }}
- --port={{ int $root.Values.prometheus.metricsPort }}
- --health-probe-port={{ include "metallb.healthPort" . }}
{{- with $root.Values.loadBalancerClass }}
- --lb-class={{ . }}
{{- end }}
{{- with $root.Values.tls.cipherSuites }}
- --tls-cipher-suites={{ . }}
{{- end }}
{{- with $root.Values.tls.curvePreferences }}
- --tls-curve-preferences={{ . }}
{{- end }}
{{- with $root.Values.tls.minVersion }}
- --tls-min-version={{ . }}
{{- end }}
{{- if index $root.Values.tls (printf "%sMetricsTLSSecret" $component) }}
- --metrics-cert-dir=/etc/metrics
{{- end }}
{{- end }}

{{/* The port that both probes ask. */}}
{{- define "metallb.healthPort" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $asked := index $root.Values $component -}}
{{- $port := int $asked.livenessProbe.port -}}
{{- if ne $port (int $asked.readinessProbe.port) -}}
{{- fail (printf "%s.livenessProbe.port and %s.readinessProbe.port differ: one port answers both" $component $component) -}}
{{- end -}}
{{ $port }}
{{- end }}

{{/* Whose defaults hold for what a BGPPeer leaves out; empty: the native speaker's. */}}
{{- define "metallb.bgpType" -}}
{{- if .Values.frrk8s.external -}}
frr-k8s-external
{{- else if .Values.speaker.frr.enabled -}}
frr
{{- else if .Values.frrk8s.enabled -}}
frr-k8s
{{- end -}}
{{- end }}

{{/* Probes of the health port: (list probe path host). */}}
{{- define "metallb.probe" -}}
{{- $probe := index . 0 -}}
httpGet:
  {{- with index . 2 }}
  host: {{ . }}
  {{- end }}
  path: {{ index . 1 }}
  port: health
{{- with $probe.initialDelaySeconds }}
initialDelaySeconds: {{ int . }}
{{- end }}
periodSeconds: {{ int $probe.periodSeconds }}
timeoutSeconds: {{ int ($probe.timeoutSeconds | default 1) }}
failureThreshold: {{ int $probe.failureThreshold }}
{{- if gt (int ($probe.successThreshold | default 1)) 1 }}
successThreshold: {{ int $probe.successThreshold }}
{{- end }}
{{- end }}
