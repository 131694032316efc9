"""What people see of this project, whichever room it comes from: the terminal, graphs, critical paths.

`console` needs rich and is for commands alone: the program must not import it. All else needs Python's standard library
only, as does the comment on a pull request.
"""
