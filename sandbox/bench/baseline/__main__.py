"""Imports what the stack imports, and makes only the provider."""

import pulumi  # noqa: F401
import pulumi_command  # noqa: F401
import pulumi_kubernetes
import yaml  # noqa: F401

pulumi_kubernetes.Provider("kubernetes", cluster_identifier="none", kubeconfig="{}")
