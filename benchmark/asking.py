"""Asking the hub for a file: it is not waited for, and what it refuses is told in a line that says what to do.

The hub's client finds a token itself, in `HF_TOKEN` or where `hf auth login` left it; nothing here sees or keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmark.errors import InputError, brief

TIMEOUT = 5.0
"""Seconds to wait for the hub before saying that it is out of reach."""


class UnreachableError(InputError):
    """The hub does not answer, or not as it should."""


@contextmanager
def refusals_told(repository: str, revision: str | None, pages: str = "", missing: str = "no such repository on the hub") -> Iterator[None]:
    """What the hub refuses inside is raised as what the user can do about it.

    Args:
        repository: what is asked for, ORG/NAME.
        revision: of it; None for its main branch.
        pages: where the hub has the pages of such repositories: `datasets/` for data sets.
        missing: what is to be said where there is no such repository.

    Raises:
        UnreachableError: anything else went wrong; its message is what did, on one line.
        InputError: it is gated, there is no such repository or no such revision of it.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except InputError:
        raise
    except GatedRepoError:
        raise InputError(f"{repository}: gated; accept its terms at https://huggingface.co/{pages}{repository} and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise InputError(f"{repository}: {missing}; if it is private, set HF_TOKEN") from None
    except RevisionNotFoundError:
        raise InputError(f"{repository}: no revision {revision!r} of it; a revision is a branch, a tag or a commit") from None
    except Exception as error:  # OSError, httpx's and Xet's errors, which share no base: whichever, nothing can be had now
        raise UnreachableError(brief(error)) from None
