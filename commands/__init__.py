"""What the graph runs on the cluster, mostly to wait; and how the cluster is named, by kubeconfig and context.

pulumi-command runs the commands (`precheck`, `kong_crds`, `istiod_ready`, `istio_cni_ready`, `kong_ready`, `route_ready`,
`secret_ready`) as `venv/bin/python -m commands.<command>`; so can people.
What runs when a resource is deleted is in `when_deleted`.
"""
