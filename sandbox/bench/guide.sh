#!/usr/bin/env bash
# The guide "Running the Kubernetes Ingress Controller with Istio", typed as a script: its commands in its order, waiting
# where it waits. helm stands in for istioctl, whose install waits for istiod. Charts come as the stack gets them:
# CHART_BASE, CHART_ISTIOD, CHART_KONG, CHART_PROMETHEUS, CHART_GRAFANA, CHART_KIALI are what helm takes (a folder, or
# `name --repo URL --version V`), VALUES is a folder with the stack's values for each.
set -euo pipefail

# The unquoted CHART_… hold several words.
# shellcheck disable=SC2086
install() { helm upgrade --install "$1" $2 --namespace "$3" --values "$VALUES/$1.yaml" "${@:4}" >/dev/null; }

kubectl create namespace istio-system >/dev/null
install istio-base "$CHART_BASE" istio-system --wait
install istiod "$CHART_ISTIOD" istio-system --wait

kubectl create namespace kong-istio >/dev/null
kubectl label namespace kong-istio istio-injection=enabled >/dev/null
install kong-istio "$CHART_KONG" kong-istio
kubectl describe pod --namespace kong-istio --selector app.kubernetes.io/instance=kong-istio >/dev/null

kubectl create namespace bookinfo >/dev/null
kubectl label namespace bookinfo istio-injection=enabled >/dev/null
kubectl --namespace bookinfo apply --filename manifests/bookinfo.yaml >/dev/null
kubectl --namespace bookinfo wait --timeout 120s --for condition=Available deployment productpage-v1 >/dev/null

kubectl --namespace bookinfo apply --filename - >/dev/null <<'YAML'
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: productpage
spec:
  ingressClassName: kong
  rules:
    - http:
        paths:
          - path: /
            pathType: ImplementationSpecific
            backend: {service: {name: productpage, port: {number: 9080}}}
YAML
kubectl --namespace kong-istio get service kong-istio-kong-proxy \
  --output jsonpath='{.status.loadBalancer.ingress[0].ip}' >/dev/null

kubectl --namespace bookinfo apply --filename - >/dev/null <<'YAML'
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata:
  name: rate-limit
plugin: rate-limiting
config: {minute: 30, policy: local}
YAML
kubectl --namespace bookinfo patch ingress productpage \
  --patch '{"metadata":{"annotations":{"konghq.com/plugins":"rate-limit"}}}' >/dev/null

kubectl --namespace istio-system create secret generic grafana-admin \
  --from-literal admin-user=admin --from-literal admin-password=bench >/dev/null
kubectl --namespace istio-system create secret generic kiali-signing-key \
  --from-literal key=0123456789abcdef0123456789abcdef >/dev/null
install prometheus "$CHART_PROMETHEUS" istio-system
install grafana "$CHART_GRAFANA" istio-system
install kiali "$CHART_KIALI" istio-system
# `istioctl dashboard kiali` needs a pod of Kiali's to forward to.
kubectl --namespace istio-system wait --timeout 120s --for condition=Available deployment kiali >/dev/null
