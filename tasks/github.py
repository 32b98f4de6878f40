"""GitHub: Python modules."""

from benchmark import Task
from tasks import CORPUS

DOCUMENTS = Task(
    name="github",
    domain="github",
    removes="documents",
    description="forget some Python modules, keep the others",
    corpus=CORPUS,
    code=True,
)
DOMAIN = Task(
    name="github-domain",
    domain="github",
    removes="domain",
    description="forget all Python modules, keep every other kind of text",
    corpus=CORPUS,
    code=True,
)
