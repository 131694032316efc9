{{- /* Names, labels and the few derived values of the stand-in for kiali/kiali-server.
       Leaves out: everything that asks whether this is OpenShift. */ -}}

{{- define "kiali.name" -}}
{{- .Values.deployment.instance_name | trunc 63 -}}
{{- end -}}

{{- define "kiali.selectorLabels" -}}
app.kubernetes.io/name: kiali
app.kubernetes.io/instance: {{ include "kiali.name" . }}
{{- end -}}

{{- define "kiali.labels" -}}
{{- with .Values.deployment.extra_labels -}}
{{ toYaml . }}
{{ end -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app: kiali
{{ include "kiali.selectorLabels" . }}
version: {{ default .Chart.AppVersion .Values.deployment.version_label | quote }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.deployment.version_label | quote }}
app.kubernetes.io/part-of: "kiali"
{{- end -}}

{{- define "kiali.webRoot" -}}
{{- $root := default "/kiali" .Values.server.web_root -}}
{{- eq $root "/" | ternary $root (trimSuffix "/" $root) -}}
{{- end -}}

{{- /* Kiali only reads, and its roles are named so, unless it is open to anybody and may write. */ -}}
{{- define "kiali.viewer" -}}
{{- if or .Values.deployment.view_only_mode (ne .Values.auth.strategy "anonymous") -}}-viewer{{- end -}}
{{- end -}}

{{- /* The values of the form secret:<name>:<key>, as JSON: volume name -> [Secret, key]. */ -}}
{{- define "kiali.credentials" -}}
{{- $asked := dict "login-token-signing-key" .Values.login_token.signing_key -}}
{{- range $service := list "prometheus" "grafana" "tracing" -}}
  {{- $settings := get $.Values.external_services $service | default dict -}}
  {{- if dig "enabled" (eq $service "prometheus") $settings -}}
    {{- range $key := list "username" "password" "token" -}}
      {{- $_ := set $asked (printf "%s-%s" $service $key) (dig "auth" $key "" $settings) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $found := dict -}}
{{- range $volume, $value := $asked -}}
  {{- if regexMatch "^secret:.+:.+" (toString $value) -}}
    {{- $_ := set $found $volume (slice (regexSplit ":" $value 3) 1) -}}
  {{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}
