"""The Pile with and without its GitHub part: what Pochinkov & Schoots 2024 removed and kept. Run them with `--data pile`."""

from benchmark import Task
from tasks import CORPUS

CODE = Task(
    name="code-domain",
    domain="code",
    removes="domain",
    description="forget the GitHub part of the Pile, keep the rest of it (--data pile)",
    corpus=CORPUS,
    text="pile",
    code=True,
)
PROSE = Task(
    name="prose-domain",
    domain="prose",
    removes="domain",
    description="forget the Pile without its GitHub part, keep that part (--data pile)",
    corpus=CORPUS,
    text="pile",
)
