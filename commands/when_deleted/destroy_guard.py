"""Fails where the context leads to another cluster than the stack is in."""

from __future__ import annotations

import os

from commands.when_deleted.api import CLUSTER_UID, Api, LeftoversError, parser, run, stranger

_MOVED = (
    "Nothing was deleted: the context {context} leads to another cluster than the stack is in (its kube-system is {found}, "
    "and was {own}): have the context lead to that one, or, where it is gone, `pulumi state delete --all --force --stack "
    "{stack}` has the stack forget it and touches no cluster."
)


def main() -> None:
    """Compare from the command line."""
    given = parser(__doc__)
    given.add_argument("--stack", required=True, help="its name, for the sentence")
    options = given.parse_args()
    if found := stranger(Api(options.kubeconfig, options.context)):
        own = os.environ[CLUSTER_UID]
        raise LeftoversError(_MOVED.format(context=options.context, found=found, own=own, stack=options.stack))


if __name__ == "__main__":
    run(main)
