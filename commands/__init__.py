"""Access to the cluster: kubeconfig, context, and the commands that the stack runs against it.

The commands (`precheck`, `mesh_ready`, `gateway_ready`, `route_ready`, `leftovers`) are run by pulumi-command as
`venv/bin/python -m commands.<command>`, and by hand alike.
"""
