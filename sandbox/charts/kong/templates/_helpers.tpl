{{- /* Names, labels and the environment of the stand-in for kong/kong.
       Leaves out: database, Enterprise, Konnect and stream settings. */ -}}

{{- define "kong.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- default (printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-") .Values.fullnameOverride -}}
{{- end -}}

{{- define "kong.serviceAccountName" -}}
{{- $account := .Values.deployment.serviceAccount -}}
{{- default (ternary (include "kong.fullname" .) "default" $account.create) $account.name -}}
{{- end -}}

{{- /* major.minor of an image's version; `effectiveSemver` speaks for tags that are no version. */ -}}
{{- define "kong.minor" -}}
{{- $version := regexReplaceAll "^([0-9]+\\.[0-9]+\\.[0-9]+).*" (default .tag .effectiveSemver) "${1}" | semver -}}
{{- printf "%d.%d" $version.Major $version.Minor -}}
{{- end -}}

{{- define "kong.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/component: app
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "kong.labels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/version: {{ include "kong.minor" .Values.image | quote }}
{{- range $key, $value := .Values.extraLabels }}
{{ $key }}: {{ tpl $value $ | quote }}
{{- end }}
{{- end -}}

{{- define "kong.image" -}}
{{- default (printf "%s:%s" .repository (toString .tag)) .unifiedRepoTag -}}
{{- end -}}

{{- define "kong.pullSecrets" -}}
{{- $ofController := and .Values.ingressController.enabled .Values.ingressController.image.pullSecrets -}}
{{- with default $ofController .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* A KONG_*_LISTEN string. Takes `of` (one of the values that have http and tls) and `addresses`. */ -}}
{{- define "kong.listen" -}}
{{- $listens := list -}}
{{- range $protocol, $extra := dict "http" (list) "tls" (list "ssl") -}}
  {{- $port := get $.of $protocol | default dict -}}
  {{- if $port.enabled -}}
    {{- range $.addresses -}}
      {{- $address := printf "%s:%d" . (int64 $port.containerPort) -}}
      {{- $listens = append $listens (concat (list $address) (default list $port.parameters) $extra | join " ") -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- join ", " $listens | default "off" -}}
{{- end -}}

{{- define "kong.portMaps" -}}
{{- $maps := list -}}
{{- range list .http .tls -}}
  {{- if .enabled -}}{{- $maps = append $maps (printf "%d:%d" (int64 .servicePort) (int64 .containerPort)) -}}{{- end -}}
{{- end -}}
{{- join ", " $maps -}}
{{- end -}}

{{- /* A sorted env list out of a map; a map as value is written as it is (valueFrom). */ -}}
{{- define "kong.renderEnv" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "kong.env" -}}
{{- $everywhere := list "0.0.0.0" "[::]" -}}
{{- $env := dict
  "KONG_ADMIN_LISTEN" (include "kong.listen" (dict "of" .Values.admin "addresses" (ternary $everywhere (list "127.0.0.1" "[::1]") .Values.admin.enabled)))
  "KONG_CLUSTER_LISTEN" "off"
  "KONG_LUA_PACKAGE_PATH" "/opt/?.lua;/opt/?/init.lua;;"
  "KONG_PROXY_LISTEN" (include "kong.listen" (dict "of" .Values.proxy "addresses" $everywhere))
  "KONG_PROXY_STREAM_ACCESS_LOG" "/dev/stdout basic"
  "KONG_PROXY_STREAM_ERROR_LOG" "/dev/stderr"
  "KONG_STATUS_ACCESS_LOG" "off"
  "KONG_STATUS_ERROR_LOG" "/dev/stderr"
  "KONG_STATUS_LISTEN" (include "kong.listen" (dict "of" .Values.status "addresses" $everywhere))
  "KONG_STREAM_LISTEN" "off" -}}
{{- if .Values.ingressController.enabled -}}{{- $_ := set $env "KONG_KIC" "on" -}}{{- end -}}
{{- if .Values.proxy.enabled -}}{{- $_ := set $env "KONG_PORT_MAPS" (include "kong.portMaps" .Values.proxy) -}}{{- end -}}
{{- range $key, $value := .Values.env -}}
  {{- $_ := set $env (printf "KONG_%s" (upper $key)) $value -}}
{{- end -}}
{{- include "kong.renderEnv" $env -}}
{{- end -}}

{{- define "kong.controllerEnv" -}}
{{- $controller := .Values.ingressController -}}
{{- $proxy := default (printf "%s-proxy" (include "kong.fullname" .)) .Values.proxy.nameOverride -}}
{{- $admin := .Values.admin.tls.enabled | ternary (printf "https://localhost:%d" (int64 .Values.admin.tls.containerPort)) (printf "http://localhost:%d" (int64 .Values.admin.http.containerPort)) -}}
{{- $env := dict
  "CONTROLLER_ELECTION_ID" (printf "kong-ingress-controller-leader-%s" $controller.ingressClass)
  "CONTROLLER_INGRESS_CLASS" $controller.ingressClass
  "CONTROLLER_KONG_ADMIN_TLS_SKIP_VERIFY" true
  "CONTROLLER_KONG_ADMIN_URL" $admin
  "CONTROLLER_PUBLISH_SERVICE" (printf "%s/%s" .Release.Namespace $proxy) -}}
{{- with $controller.watchNamespaces -}}{{- $_ := set $env "CONTROLLER_WATCH_NAMESPACE" (join "," .) -}}{{- end -}}
{{- range $key, $value := $controller.env -}}
  {{- $_ := set $env (printf "CONTROLLER_%s" (upper $key)) $value -}}
{{- end -}}
{{- include "kong.renderEnv" $env -}}
{{- end -}}

{{- /* Whether the controller gets its own token volume instead of the one Kubernetes mounts everywhere. */ -}}
{{- define "kong.ownToken" -}}
{{- $account := .Values.deployment.serviceAccount -}}
{{- if and (not $account.automountServiceAccountToken) (or $account.create $account.name) -}}true{{- end -}}
{{- end -}}

{{- /* One of Kong's Services. Takes `root`, `name` (its suffix) and `of` (its values). */ -}}
{{- define "kong.service" -}}
{{- $of := .of -}}
{{- $name := .name -}}
{{- $outside := has $of.type (list "LoadBalancer" "NodePort") -}}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ default (printf "%s-%s" (include "kong.fullname" .root) $name) $of.nameOverride }}
  namespace: {{ .root.Release.Namespace }}
  {{- with $of.annotations }}
  annotations:
    {{- range $key, $value := . }}
    {{ $key }}: {{ $value | quote }}
    {{- end }}
  {{- end }}
  labels:
    {{- include "kong.labels" .root | nindent 4 }}
    {{- range $key, $value := $of.labels }}
    {{ $key }}: {{ $value | quote }}
    {{- end }}
spec:
  type: {{ $of.type }}
  {{- if eq $of.type "LoadBalancer" }}
  {{- range $key := list "loadBalancerIP" "loadBalancerSourceRanges" "loadBalancerClass" }}
  {{- with get $of $key }}
  {{ $key }}: {{ toJson . }}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- range $key := list "externalIPs" "externalTrafficPolicy" "ipFamilyPolicy" "ipFamilies" "trafficDistribution" "clusterIP" }}
  {{- with get $of $key }}
  {{ $key }}: {{ toJson . }}
  {{- end }}
  {{- end }}
  ports:
  {{- range $protocol, $suffix := dict "http" "" "tls" "-tls" }}
  {{- $port := get $of $protocol }}
  {{- if $port.enabled }}
    - name: kong-{{ $name }}{{ $suffix }}
      port: {{ $port.servicePort }}
      targetPort: {{ $port.containerPort }}
      protocol: TCP
      {{- with $port.appProtocol }}
      appProtocol: {{ . }}
      {{- end }}
      {{- if and $outside $port.nodePort }}
      nodePort: {{ $port.nodePort }}
      {{- end }}
  {{- end }}
  {{- end }}
  selector:
    {{- include "kong.selectorLabels" .root | nindent 4 }}
{{- end -}}

{{- define "kong.containerSecurity" -}}
{{- if .Values.containerSecurityContext.enabled }}
securityContext:
  {{- toYaml (omit .Values.containerSecurityContext "enabled") | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* What the controller may do in the namespaces it watches. */ -}}
{{- define "kong.rules" -}}
- apiGroups: [""]
  resources: [configmaps, pods, services]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [nodes, secrets]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [services/status]
  verbs: [get, patch, update]
- apiGroups: [networking.k8s.io, extensions]
  resources: [ingresses]
  verbs: [get, list, watch]
- apiGroups: [networking.k8s.io, extensions]
  resources: [ingresses/status]
  verbs: [get, patch, update]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
{{- $kinds := list "kongcustomentities" "kongupstreampolicies" "kongconsumergroups" "kongconsumers" "kongingresses" "kongplugins" "tcpingresses" "udpingresses" }}
- apiGroups: [configuration.konghq.com]
  resources: [ingressclassparameterses, {{ join ", " $kinds }}]
  verbs: [get, list, watch]
- apiGroups: [configuration.konghq.com]
  resources: [{{ join "/status, " $kinds }}/status]
  verbs: [get, patch, update]
{{- end -}}

{{- /* What it may do with what belongs to no namespace. */ -}}
{{- define "kong.clusterRules" -}}
- apiGroups: [configuration.konghq.com]
  resources: [konglicenses, kongvaults, kongclusterplugins]
  verbs: [get, list, watch]
- apiGroups: [configuration.konghq.com]
  resources: [konglicenses/status, kongvaults/status, kongclusterplugins/status]
  verbs: [get, patch, update]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
{{- if .Values.ingressController.createIngressClass }}
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [get, list, watch]
{{- end }}
{{- end -}}
