"""The stack's components. Each is `Name(name, args, opts)`, has the type `kong-istio:index:<Name>`, and reads no configuration."""
