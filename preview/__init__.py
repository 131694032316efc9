"""What a change would do to every stack, found out with no cluster and no credentials, and the comment that says so.

Two halves that share `changes` alone: `collect` runs a pull request's own code and may be trusted with nothing;
`comment` has a token that can write, runs the main branch's code, and takes what the first half wrote as text from a
stranger (`schema`). The second half needs nothing but Python's standard library.
"""
