"""The program without Pulumi's engine, on the sandbox: what it registers is applied as it is released."""
