"""What runs when a resource is deleted: programs whose text the stack's state carries (`project_command.run_when_deleted`).

The project of that day may have no virtual environment, or no such file. So these import the standard library alone, and
`api`, whose text theirs is joined with.
"""
