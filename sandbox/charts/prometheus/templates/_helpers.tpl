{{- /* Names and labels of the stand-in for prometheus-community/prometheus.
       Leaves out: a forced namespace and names of the sub-charts. */ -}}

{{- define "prometheus.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end -}}

{{- define "prometheus.fullname" -}}
{{- $name := include "prometheus.name" . -}}
{{- $prefix := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default (printf "%s-%s" $prefix .Values.server.name) .Values.server.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "prometheus.serviceAccountName" -}}
{{- $account := .Values.serviceAccounts.server -}}
{{- default (ternary (include "prometheus.fullname" .) "default" $account.create) $account.name -}}
{{- end -}}

{{- define "prometheus.selectorLabels" -}}
app.kubernetes.io/component: {{ .Values.server.name }}
app.kubernetes.io/name: {{ include "prometheus.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "prometheus.labels" -}}
{{ include "prometheus.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/part-of: {{ include "prometheus.name" . }}
{{- with .Values.commonMetaLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* An image by digest or by tag. Takes `image` and `tag`, the tag where the image has none. */ -}}
{{- define "prometheus.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .tag .image.tag }}{{ if .image.distroless }}-distroless{{ end }}
{{- end -}}
{{- end -}}
