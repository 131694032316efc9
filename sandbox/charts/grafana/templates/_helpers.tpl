{{- /* Names, labels and the configuration of the stand-in for grafana-community/grafana.
       Leaves out: a namespace of its own, secrets among the data sources. */ -}}

{{- define "grafana.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end -}}

{{- define "grafana.fullname" -}}
{{- $name := include "grafana.name" . -}}
{{- $derived := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $derived .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "grafana.serviceAccountName" -}}
{{- default (ternary (include "grafana.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "grafana.selectorLabels" -}}
app.kubernetes.io/name: {{ include "grafana.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "grafana.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{ include "grafana.selectorLabels" . }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.image.tag | quote }}
{{- with .Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "grafana.annotations" -}}
{{- with .Values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* An image. Takes `root`, `image` and `tag`, the tag where the image has none. */ -}}
{{- define "grafana.image" -}}
{{- $image := .image -}}
{{ default $image.registry .root.Values.global.imageRegistry }}/{{ $image.repository }}:{{ default .tag $image.tag }}{{ with $image.sha }}@sha256:{{ . }}{{ end }}
{{- end -}}

{{- /* Whether the chart itself keeps the administrator's password, in the Secret that it makes. */ -}}
{{- define "grafana.ownSecret" -}}
{{- $env := .Values.env -}}
{{- if not (or .Values.admin.existingSecret $env.GF_SECURITY_ADMIN_PASSWORD $env.GF_SECURITY_ADMIN_PASSWORD__FILE $env.GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION) -}}true{{- end -}}
{{- end -}}

{{- /* Base64 of the password: the given one, else the one in the cluster, else a new one. */ -}}
{{- define "grafana.password" -}}
{{- $found := lookup "v1" "Secret" .Release.Namespace (include "grafana.fullname" .) | default dict -}}
{{- $kept := dig "data" "admin-password" "" $found -}}
{{- if .Values.adminPassword -}}
{{ b64enc .Values.adminPassword }}
{{- else -}}
{{ default (randAlphaNum 40 | b64enc) $kept }}
{{- end -}}
{{- end -}}

{{- define "grafana.refuseSecrets" -}}
{{- range $path := list "database.password" "smtp.password" "security.secret_key" "security.admin_password" -}}
  {{- $parts := splitList "." $path -}}
  {{- $value := dig (first $parts) (last $parts) "" (get $.Values "grafana.ini") -}}
  {{- if and $.Values.assertNoLeakedSecrets $value (not (regexMatch "\\$(?:__(?:env|file|vault))?{[^}]+}" (toString $value))) -}}
    {{- fail (printf "Sensitive key '%s' should not be defined explicitly in values. Use variable expansion instead." $path) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "grafana.iniLine" -}}
{{- if kindIs "invalid" .value -}}
{{ .key }} =
{{- else if kindIs "string" .value -}}
{{ .key }} = {{ tpl .value .root }}
{{- else if kindIs "slice" .value -}}
{{ .key }} = {{ toJson .value }}
{{- else -}}
{{ .key }} = {{ .value }}
{{- end -}}
{{- end -}}

{{- /* The files that Grafana and its init container find: grafana.ini, data sources, providers, the download script. */ -}}
{{- define "grafana.config" -}}
{{- include "grafana.refuseSecrets" . -}}
grafana.ini: |
{{- range $key, $value := get .Values "grafana.ini" }}
  {{- if not (kindIs "map" $value) }}
  {{ include "grafana.iniLine" (dict "key" $key "value" $value "root" $) }}
  {{- end }}
{{- end }}
{{- range $section, $lines := get .Values "grafana.ini" }}
  {{- if kindIs "map" $lines }}
  [{{ $section }}]
  {{- range $key, $value := $lines }}
  {{ include "grafana.iniLine" (dict "key" $key "value" $value "root" $) }}
  {{- end }}
  {{- end }}
{{- end }}
{{- range $file, $content := .Values.datasources }}
{{ $file }}: |
  {{- tpl (toYaml $content) $ | nindent 2 }}
{{- end }}
{{- range $file, $content := .Values.dashboardProviders }}
{{ $file }}: |
  {{- toYaml $content | nindent 2 }}
{{- end }}
{{- if .Values.dashboards }}
download_dashboards.sh: |
  #!/usr/bin/env sh
  set -euf
  {{- $paths := dict }}
  {{- range .Values.dashboardProviders }}
  {{- range .providers }}
  {{- $_ := set $paths .name .options.path }}
  mkdir -p {{ .options.path }}
  {{- end }}
  {{- end }}
  {{- range $provider, $dashboards := .Values.dashboards }}
  {{- $path := get $paths $provider | default (printf "/var/lib/grafana/dashboards/%s" $provider) }}
  {{- range $name, $dashboard := $dashboards }}
  {{- if or $dashboard.gnetId $dashboard.url }}
  {{- $url := $dashboard.url | default (printf "https://grafana.com/api/dashboards/%v/revisions/%v/download" $dashboard.gnetId (default 1 $dashboard.revision)) }}
  curl {{ default $.Values.defaultCurlOptions $dashboard.curlOptions }} --connect-timeout 60 --max-time 60 \
    -H "Accept: application/json" -H "Content-Type: application/json;charset=UTF-8" "{{ $url }}" \
    {{- if kindIs "string" $dashboard.datasource }}
    | sed '/-- .* --/! s/"datasource":.*,/"datasource": "{{ $dashboard.datasource }}",/g' \
    {{- end }}
    > "{{ $path }}/{{ $name }}.json"
  {{- end }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}
